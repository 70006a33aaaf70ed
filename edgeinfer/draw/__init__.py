"""Draws results into pictures, for people."""

from __future__ import annotations

from edgeinfer.draw.annotate import annotate
from edgeinfer.draw.canvas import class_color

__all__ = ["annotate", "class_color"]
