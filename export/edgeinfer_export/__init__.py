"""edgeinfer_export: a trained model becomes a verified, optionally quantized ONNX file.

Importing this package loads no other package: everything below is fetched on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeinfer_export' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
