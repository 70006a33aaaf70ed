"""What can run models here, and how a model is opened on it."""

from __future__ import annotations

from edgeinfer.providers.base import Binding, Device, Engine, Opening, Provider, check_inputs
from edgeinfer.providers.ort import onnxruntime, runtime_version
from edgeinfer.providers.select import Selected, check_options, open_selected, parse_provider
from edgeinfer.providers.table import PROVIDERS
from edgeinfer.providers.vet import Vetting

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
    "parse_provider",
    "runtime_version",
]
