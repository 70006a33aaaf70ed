"""The plugin providers that wheels bring, each one entry; `table` names them."""

from __future__ import annotations

from edgeinfer.providers import option_tables
from edgeinfer.providers.plugin_provider import PluginProvider
from edgeinfer.providers.plugins import Plugin

# OpenVINO's is an implementation of `openvino`.
TENSORRT_RTX = PluginProvider(
    Plugin(
        name="tensorrt-rtx",
        module="onnxruntime_ep_nv_tensorrt_rtx",
        distribution="onnxruntime-ep-nv-tensorrt-rtx",
        kinds=("gpu",),
        options=option_tables.TENSORRT_RTX,
        needs="it needs an NVIDIA RTX GPU (Ampere or later) and a driver that fits its CUDA",
        keeps=True,
    )
)
QNN = PluginProvider(
    Plugin(
        name="qnn",
        module="onnxruntime_qnn",
        distribution="onnxruntime-qnn",
        kinds=("npu", "gpu"),
        options=option_tables.QNN,
        needs="it needs a Qualcomm processor with its NPU driver",
        keeps=True,
        slow=True,
    )
)
WEBGPU = PluginProvider(
    Plugin(
        name="webgpu",
        module="onnxruntime_ep_webgpu",
        distribution="onnxruntime-ep-webgpu",
        kinds=("gpu",),
        options=option_tables.WEBGPU,
        needs="it needs a GPU with a Vulkan driver",
    )
)
