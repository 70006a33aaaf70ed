"""OpenVINO's properties for an opening, the same whatever serves it.

https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference.html
"""

from __future__ import annotations

from edgeinfer.machine import usable_cpus
from edgeinfer.providers.base import Opening

_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}


def properties(opening: Opening, device: str, precision: str) -> dict[str, str]:
    """OpenVINO's properties for an opening.

    Args:
        device: ``CPU``, ``GPU.1``, ``NPU``.
        precision: of the file: ``fp32``, ``int8``, ``fp16``, ``bf16``.
    """
    found = {"PERFORMANCE_HINT": "LATENCY"}
    kind = device.partition(".")[0]
    if kind != "NPU":
        # A processor without FP16 would take bf16 for it, so there FP16 files run in FP32.
        half = {"fp16": "f16", "bf16": "bf16"} if kind == "GPU" else {}
        found["INFERENCE_PRECISION_HINT"] = half.get(precision, "f32")
    if kind == "CPU":
        if opening.lanes > 1:
            # One stream, the default for latency, runs one request after the other.
            found["NUM_STREAMS"] = str(opening.lanes)
        streams = opening.options.get("NUM_STREAMS", str(opening.lanes))
        threads = opening.threads * (int(streams) if streams.isdigit() else 1)
        found["INFERENCE_NUM_THREADS"] = str(threads)
        if threads < usable_cpus():
            # Pinned threads of two sessions would sit on the same processors.
            found["ENABLE_CPU_PINNING"] = "NO"
    return {**found, **opening.options}


def compute_precision(hint: str, precision: str) -> str:
    """What results say about the arithmetic.

    Args:
        hint: OpenVINO's name of the floating-point type.
        precision: of the file.
    """
    floating = _PRECISIONS.get(hint, hint)
    if precision != "int8":
        return floating
    return "int8" if floating == "fp32" else f"int8+{floating}"
