"""Where a ModelSpec comes from."""

from __future__ import annotations

from edgeinfer.resolve.opened import Opened
from edgeinfer.resolve.origins import Overrides, resolve, sidecar_of

__all__ = ["Opened", "Overrides", "resolve", "sidecar_of"]
