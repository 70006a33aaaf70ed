"""Every provider that edgeinfer knows, in the order in which `auto` tries them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeinfer.providers import nvidia, option_tables
from edgeinfer.providers.base import Provider
from edgeinfer.providers.builtin import CpuProvider
from edgeinfer.providers.openvino import OpenVinoProvider
from edgeinfer.providers.plugin_provider import PluginProvider
from edgeinfer.providers.plugins import Plugin

# One entry makes a plugin provider known; OpenVINO's is an implementation of `openvino`.
_TENSORRT_RTX = Plugin(
    name="tensorrt-rtx",
    module="onnxruntime_ep_nv_tensorrt_rtx",
    distribution="onnxruntime-ep-nv-tensorrt-rtx",
    kinds=("gpu",),
    options=option_tables.TENSORRT_RTX,
    needs="it needs an NVIDIA RTX GPU (Ampere or later) and a driver that fits its CUDA",
    keeps=True,
)
_QNN = Plugin(
    name="qnn",
    module="onnxruntime_qnn",
    distribution="onnxruntime-qnn",
    kinds=("npu", "gpu"),
    options=option_tables.QNN,
    needs="it needs a Qualcomm processor with its NPU driver",
    keeps=True,
    slow=True,
)
_WEBGPU = Plugin(
    name="webgpu",
    module="onnxruntime_ep_webgpu",
    distribution="onnxruntime-ep-webgpu",
    kinds=("gpu",),
    options=option_tables.WEBGPU,
    needs="it needs a GPU with a Vulkan driver",
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            nvidia.TENSORRT,
            PluginProvider(_TENSORRT_RTX),
            nvidia.CUDA,
            PluginProvider(_QNN),
            OpenVinoProvider(),
            PluginProvider(_WEBGPU),
            CpuProvider(option_tables.CPU),
        )
    }
)
