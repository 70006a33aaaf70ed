"""What can run models here, and how a model is opened on it.

Each part is imported on first use (PEP 562): a new file is vetted before the rest is there.
"""

from __future__ import annotations

from edgeinfer.lazy import exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgeinfer.providers.base import Binding, Device, Engine, Opening, Provider, check_inputs
    from edgeinfer.providers.ort import onnxruntime, runtime_version
    from edgeinfer.providers.select import (
        Selected,
        check_options,
        open_selected,
        opening_runs,
        parse_provider,
    )
    from edgeinfer.providers.table import PROVIDERS
    from edgeinfer.providers.vet import Vetting, vouch

__all__ = [
    "PROVIDERS",
    "Binding",
    "Device",
    "Engine",
    "Opening",
    "Provider",
    "Selected",
    "Vetting",
    "check_inputs",
    "check_options",
    "onnxruntime",
    "open_selected",
    "opening_runs",
    "parse_provider",
    "runtime_version",
    "vouch",
]

_HOMES = {
    "PROVIDERS": "edgeinfer.providers.table",
    "Binding": "edgeinfer.providers.base",
    "Device": "edgeinfer.providers.base",
    "Engine": "edgeinfer.providers.base",
    "Opening": "edgeinfer.providers.base",
    "Provider": "edgeinfer.providers.base",
    "Selected": "edgeinfer.providers.select",
    "Vetting": "edgeinfer.providers.vet",
    "check_inputs": "edgeinfer.providers.base",
    "check_options": "edgeinfer.providers.select",
    "onnxruntime": "edgeinfer.providers.ort",
    "open_selected": "edgeinfer.providers.select",
    "opening_runs": "edgeinfer.providers.select",
    "parse_provider": "edgeinfer.providers.select",
    "runtime_version": "edgeinfer.providers.ort",
    "vouch": "edgeinfer.providers.vet",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
