"""Variables that change what is computed, or where, without a word."""

from __future__ import annotations

from collections.abc import Iterator

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, ok, warn

# Variable: the values that harm (None: any but empty and 0), and what they do.
_HARMFUL: dict[str, tuple[tuple[str, ...] | None, str]] = {
    "CUDA_VISIBLE_DEVICES": (("", "-1", "none"), "hides every NVIDIA GPU from this process"),
    "CUDA_LAUNCH_BLOCKING": (None, "makes every step on the GPU wait for the one before"),
    "NVIDIA_TF32_OVERRIDE": (("1",), "computes float32 in TF32, whatever was asked for"),
    "ONEDNN_DEFAULT_FPMATH_MODE": (
        ("BF16", "F16", "TF32", "ANY"),
        "computes float32 in fewer bits, whatever was asked for",
    ),
}


def check(box: Box) -> Iterator[Finding]:
    """Variables of CUDA and oneDNN that are set and harm."""
    harmless = True
    for name, (values, harm) in _HARMFUL.items():
        value = box.environment.get(name)
        if value is None:
            continue
        if value.upper() in {item.upper() for item in values} if values else value not in ("", "0"):
            harmless = False
            yield warn(
                "environment",
                f"{name}={value} {harm}",
                f"unset {name}, unless that is what you mean",
            )
    if harmless:
        yield ok("environment", "no variable that slows down or changes what is computed")
