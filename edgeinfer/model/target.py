"""Whether a quantized file was made for this box."""

from __future__ import annotations

from edgeinfer.machine import Machine

_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
_NVIDIA = ("tensorrt", "tensorrt-rtx", "cuda")
_ARM = ("aarch64", "arm64")


def why_unfit(target: str | None, provider: str, machine: Machine) -> str | None:
    """Why a file that was quantized for a kind of box does not fit this one, or None.

    Number formats that are exact on one processor saturate on another (8-bit weights on x86-64
    without VNNI) or crawl there, so a file says what it is for (`ModelSpec.target`).

    Args:
        target: ``x86-any``, ``x86-vnni``, ``arm``, ``tensorrt``, ``openvino``; None fits every box.
        provider: what runs the file.
    """
    if target == "x86-vnni":
        if machine.architecture == "x86_64" and not set(_VNNI) & set(machine.features):
            return "this processor has no VNNI, and its 8-bit weights would saturate here"
    elif target == "arm":
        if machine.architecture not in _ARM:
            return f"this box is {machine.architecture}"
    elif target == "tensorrt":
        if provider not in _NVIDIA:
            return f"the provider '{provider}' runs it: name tensorrt or cuda"
    elif target == "openvino" and provider != "openvino":
        return f"the provider '{provider}' runs it: name openvino"
    return None
