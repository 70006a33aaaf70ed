"""Every provider that edgeinfer knows, in the order in which `auto` tries them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeinfer.providers.base import Provider
from edgeinfer.providers.ort import OrtProvider

# Option names: the execution providers' pages under https://onnxruntime.ai/docs/execution-providers.
_CUDA_OPTIONS = (
    "device_id",
    "gpu_mem_limit",
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "cudnn_conv1d_pad_to_nc1d",
    "do_copy_in_default_stream",
    "enable_cuda_graph",
    "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias",
    "prefer_nhwc",
    "sdpa_kernel",
    "tunable_op_enable",
    "use_tf32",
)
_TENSORRT_OPTIONS = (
    "device_id",
    "trt_max_workspace_size",
    "trt_max_partition_iterations",
    "trt_min_subgraph_size",
    "trt_fp16_enable",
    "trt_bf16_enable",
    "trt_int8_enable",
    "trt_int8_calibration_table_name",
    "trt_dla_enable",
    "trt_dla_core",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
    "trt_force_sequential_engine_build",
    "trt_builder_optimization_level",
    "trt_profile_min_shapes",
    "trt_profile_max_shapes",
    "trt_profile_opt_shapes",
    "trt_cuda_graph_enable",
    "trt_context_memory_sharing_enable",
)
_OPENVINO_OPTIONS = (
    "device_type",
    "precision",
    "num_of_threads",
    "num_streams",
    "cache_dir",
    "load_config",
    "model_priority",
    "enable_opencl_throttling",
    "disable_dynamic_shapes",
    "reshape_input",
    "layout",
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            OrtProvider(
                name="tensorrt",
                ort_name="TensorrtExecutionProvider",
                kind="gpu",
                option_names=_TENSORRT_OPTIONS,
                device_option="device_id",
                remedy="install TensorRT and onnxruntime-gpu (on a Jetson: its own wheel)",
                auto_skip="it builds an engine for minutes; name it to use it",
            ),
            OrtProvider(
                name="cuda",
                ort_name="CUDAExecutionProvider",
                kind="gpu",
                option_names=_CUDA_OPTIONS,
                device_option="device_id",
                # EXHAUSTIVE, the default, makes the first run of each shape take seconds.
                defaults={"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
                remedy="install onnxruntime-gpu (on a Jetson: its own wheel) beside CUDA and cuDNN",
            ),
            OrtProvider(
                name="openvino",
                ort_name="OpenVINOExecutionProvider",
                kind="cpu",
                option_names=_OPENVINO_OPTIONS,
                device_option="device_type",
                remedy="replace the onnxruntime wheel by onnxruntime-openvino",
            ),
            OrtProvider(name="cpu", ort_name="CPUExecutionProvider", kind="cpu"),
        )
    }
)
