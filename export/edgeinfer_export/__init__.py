"""edgeinfer_export: a trained model becomes a verified, optionally quantized ONNX file.

Importing this package loads no other package: everything below is fetched on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.lazy import exports

if TYPE_CHECKING:
    from edgeinfer_export.commands import export
    from edgeinfer_export.options import ExportOptions
    from edgeinfer_export.result import Exported

__all__ = ["ExportOptions", "Exported", "export"]

_HOMES = {
    "ExportOptions": "edgeinfer_export.options",
    "Exported": "edgeinfer_export.result",
    "export": "edgeinfer_export.commands",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
