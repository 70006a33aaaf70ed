"""The options of each provider: names as its own documentation spells them, and their values.

ONNX Runtime's: https://onnxruntime.ai/docs/execution-providers, its session entries:
onnxruntime_session_options_config_keys.h; OpenVINO's properties:
https://docs.openvino.ai/2025/openvino-workflow/running-inference.html; TensorRT-RTX:
https://nvidia.github.io/TensorRT-RTX-EP-ABI; options that load a library of the user's choice or
hand over pointers are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.providers.options import (
    Rule,
    boolean,
    either,
    number,
    one_of,
    shapes,
    text,
    whole,
)

_FLAG = boolean()
_YES_NO = one_of("YES", "NO", "true", "false")

# Ours to ONNX Runtime's session entry.
CPU_ENTRIES: Mapping[str, str] = {
    "allow_spinning": "session.intra_op.allow_spinning",
    "spin_duration_us": "session.intra_op.spin_duration_us",
    "force_spinning_stop": "session.force_spinning_stop",
    "set_denormal_as_zero": "session.set_denormal_as_zero",
    "dynamic_block_base": "session.dynamic_block_base",
    "disable_prepacking": "session.disable_prepacking",
    "disable_double_qdq_remover": "session.disable_double_qdq_remover",
    "enable_quant_qdq_cleanup": "session.enable_quant_qdq_cleanup",
    "enable_gelu_approximation": "optimization.enable_gelu_approximation",
    "intra_op_thread_affinities": "session.intra_op_thread_affinities",
}
GRAPH_LEVELS: Mapping[str, str] = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
CPU_OPTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(CPU_ENTRIES, _FLAG),
    "spin_duration_us": whole(0, 10_000_000),
    "dynamic_block_base": whole(0, 1024),
    "intra_op_thread_affinities": text,
    "graph_optimization_level": one_of(*GRAPH_LEVELS),
    "enable_cpu_mem_arena": _FLAG,
    "enable_mem_pattern": _FLAG,
}

CUDA: Mapping[str, Rule] = {
    "gpu_mem_limit": whole(1),
    "arena_extend_strategy": one_of("kNextPowerOfTwo", "kSameAsRequested"),
    "cudnn_conv_algo_search": one_of("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "cudnn_conv_use_max_workspace": _FLAG,
    "cudnn_conv1d_pad_to_nc1d": _FLAG,
    "do_copy_in_default_stream": _FLAG,
    "enable_skip_layer_norm_strict_mode": _FLAG,
    "fuse_conv_bias": _FLAG,
    "prefer_nhwc": _FLAG,
    "sdpa_kernel": whole(),
    "tunable_op_enable": _FLAG,
    "tunable_op_tuning_enable": _FLAG,
    "tunable_op_max_tuning_duration_ms": whole(),
    "use_ep_level_unified_stream": _FLAG,
    "use_tf32": _FLAG,
}

TENSORRT: Mapping[str, Rule] = {
    "trt_max_workspace_size": whole(),
    "trt_max_partition_iterations": whole(1),
    "trt_min_subgraph_size": whole(1),
    "trt_fp16_enable": _FLAG,
    "trt_bf16_enable": _FLAG,
    "trt_int8_enable": _FLAG,
    "trt_int8_calibration_table_name": text,
    "trt_int8_use_native_calibration_table": _FLAG,
    "trt_layer_norm_fp32_fallback": _FLAG,
    "trt_dla_enable": _FLAG,
    "trt_dla_core": whole(0, 7),
    "trt_force_sequential_engine_build": _FLAG,
    "trt_context_memory_sharing_enable": _FLAG,
    "trt_builder_optimization_level": whole(0, 5),
    "trt_auxiliary_streams": whole(-1),
    "trt_tactic_sources": text,
    "trt_build_heuristics_enable": _FLAG,
    "trt_sparsity_enable": _FLAG,
    "trt_detailed_build_log": _FLAG,
    "trt_engine_hw_compatible": _FLAG,
    "trt_op_types_to_exclude": text,
    "trt_profile_min_shapes": shapes,
    "trt_profile_max_shapes": shapes,
    "trt_profile_opt_shapes": shapes,
}

TENSORRT_RTX: Mapping[str, Rule] = {
    "nv_max_workspace_size": whole(),
    "nv_max_shared_mem_size": whole(),
    "nv_detailed_build_log": _FLAG,
    "nv_profile_min_shapes": shapes,
    "nv_profile_max_shapes": shapes,
    "nv_profile_opt_shapes": shapes,
    "nv_multi_profile_enable": _FLAG,
    "nv_use_external_data_initializer": _FLAG,
}

OPENVINO: Mapping[str, Rule] = {
    "INFERENCE_PRECISION_HINT": one_of("f32", "f16", "bf16"),
    "PERFORMANCE_HINT": one_of("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "PERFORMANCE_HINT_NUM_REQUESTS": whole(),
    "EXECUTION_MODE_HINT": one_of("PERFORMANCE", "ACCURACY"),
    "NUM_STREAMS": either(whole(1, 1024), one_of("AUTO")),
    "MODEL_PRIORITY": one_of("LOW", "MEDIUM", "HIGH"),
    "SCHEDULING_CORE_TYPE": one_of("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"),
    "ENABLE_CPU_PINNING": _YES_NO,
    "ENABLE_CPU_RESERVATION": _YES_NO,
    "ENABLE_HYPER_THREADING": _YES_NO,
    "CPU_DENORMALS_OPTIMIZATION": _YES_NO,
    "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": number(0, 1),
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": whole(),
    "KV_CACHE_PRECISION": one_of("f32", "f16", "bf16", "u8", "i8", "u4"),
    "GPU_QUEUE_PRIORITY": one_of("LOW", "MEDIUM", "HIGH"),
    "GPU_QUEUE_THROTTLE": one_of("LOW", "MEDIUM", "HIGH"),
    "GPU_ENABLE_LOOP_UNROLLING": _YES_NO,
    "GPU_DISABLE_WINOGRAD_CONVOLUTION": _YES_NO,
    "NPU_TURBO": _YES_NO,
    "NPU_COMPILATION_MODE_PARAMS": text,
}

WEBGPU: Mapping[str, Rule] = {
    "preferredLayout": one_of("NHWC", "NCHW"),
    "enableGraphCapture": _FLAG,
    "enableInt64": _FLAG,
    "powerPreference": one_of("high-performance", "low-power"),
    "dawnBackendType": one_of("Vulkan", "D3D12"),
    "validationMode": one_of("disabled", "wgpuOnly", "basic", "full"),
    "storageBufferCacheMode": one_of("disabled", "lazyRelease", "simple", "bucket"),
}

QNN: Mapping[str, Rule] = {
    "backend_type": one_of("htp", "gpu"),
    "htp_performance_mode": one_of(
        "burst",
        "balanced",
        "default",
        "high_performance",
        "high_power_saver",
        "low_balanced",
        "low_power_saver",
        "power_saver",
        "extreme_power_saver",
        "sustained_high_performance",
    ),
    "htp_graph_finalization_optimization_mode": one_of("0", "1", "2", "3"),
    "htp_arch": one_of("0", "68", "69", "73", "75", "81"),
    "soc_model": whole(),
    "vtcm_mb": whole(0, 64),
    "qnn_context_priority": one_of("low", "normal", "normal_high", "high"),
    "enable_htp_fp16_precision": _FLAG,
    "enable_htp_spill_fill_buffer": _FLAG,
    "enable_htp_shared_memory_allocator": _FLAG,
    "offload_graph_io_quantization": _FLAG,
}
