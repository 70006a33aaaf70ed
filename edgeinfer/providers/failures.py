"""From what a runtime says when a provider does not start to a reason and a remedy.

The texts are ONNX Runtime's, the dynamic loader's, CUDA's and OpenVINO's own, as their issue
trackers show them.
"""

from __future__ import annotations

import re

# Pattern and what it means; `{1}` is its first group.
_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"(\S+\.so[\w.]*): cannot open shared object file",
        "the library {1} is missing: install what holds it, or add its folder to LD_LIBRARY_PATH",
    ),
    (
        r"version [`'](\S+)' not found",
        "a library of this system is too old, it lacks {1}: take a wheel made for this system, or "
        "update the system",
    ),
    (
        r"(\S+): undefined symbol: (\w+)|Failed to get symbol (\w+)",
        "its library does not fit the others that are installed: install versions that belong "
        "together, each in a fresh environment",
    ),
    (
        r"(file too short|invalid ELF header|wrong ELF class)",
        "its library is damaged or made for another kind of processor ({1}): install its wheel "
        "again",
    ),
    (
        r"CUDA driver version is insufficient|CUDA failure 35\b",
        "the NVIDIA driver is too old for this CUDA: update the driver, or install an "
        "onnxruntime-gpu made for an older CUDA",
    ),
    (
        r"CUDA failure 80[34]\b|unsupported display driver / cuda driver combination",
        "the NVIDIA driver's parts differ in version: restart the box after the driver's update",
    ),
    (
        r"no CUDA-capable device is detected|CUDA failure 100\b",
        "no NVIDIA GPU is visible: look at 'nvidia-smi' and CUDA_VISIBLE_DEVICES, and give a "
        "container its GPU (--gpus all)",
    ),
    (
        r"invalid device ordinal|CUDA failure 101\b|Invalid device.id",
        "there is no GPU of that number: count from 0",
    ),
    (
        r"no kernel image is available|CUDA failure 209\b",
        "this build has no code for this GPU: take an onnxruntime-gpu made for it (on a Jetson: "
        "its own wheel)",
    ),
    (
        r"out of memory|CUDA failure 2\b|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
        r"|Failed to allocate memory|bad_alloc|bad allocation",
        "memory ran out: close what else uses it, or take a smaller model or picture",
    ),
    (
        r"CUDNN_STATUS_NOT_INITIALIZED|CUDNN_STATUS_\w*VERSION\w*|libcudnn",
        "cuDNN does not start: install the one cuDNN that this onnxruntime-gpu names, no second",
    ),
    (
        r"Unsupported property (\S+) by (\w+) plugin",
        "the device {2} does not know the option {1}: leave it out",
    ),
    (
        r"Wrong value (.+?) ?for property key (\w+)\. (.+)",
        "the option {2} does not take {1}: {3}",
    ),
    (
        r"does not support the following ONNX operations: ([^\n]+)",
        "it does not take the operators {1}",
    ),
    (
        r"(?:Device with \"(\w+)\" name is not registered|Device (\S+) is not available)",
        "it has no device of that name here: look at 'edgeinfer providers'",
    ),
    (
        r"[Uu]nknown provider option|Invalid \w+ EP option|Invalid provider_option key"
        r"|Unsupported device key",
        "it refused an option: leave out the last --provider-option, or install a newer runtime",
    ),
)


def explain(message: str) -> str | None:
    """The reason and the remedy behind a runtime's message, None for an unknown one."""
    for pattern, meaning in _KNOWN:
        found = re.search(pattern, message)
        if found is not None:
            return meaning.format(found.group(0), *(part or "" for part in found.groups()))
    return None


def openvino_message(text: str) -> str:
    """The part of OpenVINO's message that says something, on one line.

    Each of its lines may be preceded by where in its source an exception passed.
    """
    lines = [line.strip() for line in text.splitlines()]
    places = [index for index, line in enumerate(lines) if line.startswith("Exception from")]
    after = lines[places[-1] + 1 :] if places else lines
    telling = [line for line in after if line and not line.startswith("Check '")]
    return " ".join(telling).strip().rstrip(".")[:400]


def is_out_of_memory(message: str) -> bool:
    """Whether a message says that memory ran out."""
    return "memory ran out" in (explain(message) or "")


def short(reason: str, limit: int = 240) -> str:
    """A reason on one line, cut after whole sentences, for lists of several."""
    line = " ".join(reason.split())
    if len(line) <= limit:
        return line
    cut = line.rfind(". ", 0, limit)
    return line[: cut + 1] if cut > 40 else line[: limit - 1].rstrip() + "…"
