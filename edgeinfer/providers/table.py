"""Every provider that edgeinfer knows, in the order in which `auto` tries them."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.lazy import LazyTable
from edgeinfer.providers.base import Provider

PROVIDERS: Mapping[str, Provider] = LazyTable(
    {
        "tensorrt": "edgeinfer.providers.nvidia:TENSORRT",
        "tensorrt-rtx": "edgeinfer.providers.plugin_table:TENSORRT_RTX",
        "cuda": "edgeinfer.providers.nvidia:CUDA",
        "qnn": "edgeinfer.providers.plugin_table:QNN",
        "openvino": "edgeinfer.providers.openvino:OpenVinoProvider",
        "webgpu": "edgeinfer.providers.plugin_table:WEBGPU",
        "cpu": "edgeinfer.providers.builtin:CPU",
    }
)
