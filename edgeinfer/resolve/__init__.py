"""Where a ModelSpec comes from."""

from __future__ import annotations

from edgeinfer.resolve.carried import check_state
from edgeinfer.resolve.opened import Opened
from edgeinfer.resolve.origins import Overrides, resolve, sidecar_of

__all__ = ["Opened", "Overrides", "check_state", "resolve", "sidecar_of"]
