"""ONNX Runtime: its module, its messages, its session settings."""

from __future__ import annotations

import functools
import mmap
from pathlib import Path
from typing import Any

from edgeinfer import environment
from edgeinfer.errors import EdgeInferError, ModelFileError, ProviderError, UsageError
from edgeinfer.packages import need
from edgeinfer.providers import failures, placement
from edgeinfer.providers.base import Opening

_DAMAGED = ("INVALID_PROTOBUF", "Protobuf parsing failed")
# Protobuf skips what it does not know, and other frameworks' models are such messages, too.
_FOREIGN = ("No graph was found in the protobuf", "ModelProto does not have a graph")
_UNKNOWN_OPERATOR = "is not a registered function/op"
# Exceptions that blame the file; the CPU provider has nothing else to blame.
_OF_THE_FILE = ("InvalidGraph", "NoSuchFile", "NoModel")
_OF_THE_GRAPH = (*_OF_THE_FILE, "NotImplemented", "InvalidArgument")


@functools.cache
def onnxruntime() -> Any:
    """ONNX Runtime, told to keep its log to itself (its errors are raised, not printed), and what
    it records of its use.

    Raises:
        MissingPackageError: if it is not installed.
    """
    environment.keep_onnxruntime_to_itself()
    ort = need("onnxruntime")
    if not hasattr(ort, "InferenceSession"):
        from edgeinfer.errors import MissingPackageError
        from edgeinfer.providers.wheels import mixed_up

        why = mixed_up() or "it was removed only in part; install it again"
        raise MissingPackageError(f"The package onnxruntime is there but empty: {why}.")
    ort.set_default_logger_severity(4)
    return ort


def runtime_version() -> str:
    """Name and version of the runtime, as results carry it."""
    return f"onnxruntime {onnxruntime().__version__}"


@functools.cache
def library_folder() -> Path:
    """Where ONNX Runtime keeps its libraries."""
    return Path(onnxruntime().__file__).parent / "capi"


@functools.cache
def knows_entry(entry: str) -> bool:
    """Whether this ONNX Runtime has a session entry: it takes unknown ones silently.

    Its library is searched for the name, since nothing else tells.
    """
    wanted = entry.encode()
    for path in library_folder().glob("*.so*"):
        if "providers" in path.name:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(wanted) >= 0:
                return True
    return False


def session_settings(ort: Any, opening: Opening, record: bool = True) -> Any:
    """Session options for an opening: quiet, with its threads, recording the placement.

    Args:
        record: whether they do record it.
    """
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = opening.threads
    settings.inter_op_num_threads = 1
    # One planned block for all activations is a little faster, but each run at a time has its own;
    # taken piece by piece they are half as large (134 against 110 MiB, a YOLOv8n-like FP32 at 640).
    settings.enable_mem_pattern = opening.lanes == 1
    settings.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if opening.spinning else "0"
    )
    if record:
        placement.ask(ort, settings)
    return settings


def add_entry(settings: Any, option: str, entry: str, value: str) -> None:
    """Set a session entry that the user named.

    Raises:
        UsageError: if this ONNX Runtime does not know it.
    """
    if not knows_entry(entry):
        raise UsageError(
            f"{runtime_version()} has no '{entry}' (the option '{option}'): leave it out, or "
            f"install a newer onnxruntime."
        )
    settings.add_session_config_entry(entry, value)


def opening_error(error: Exception, opening: Opening, provider: str) -> EdgeInferError:
    """Say what ONNX Runtime refused: the file, the graph, or the provider."""
    message = runtime_message(error)
    if any(mark in str(error) for mark in _DAMAGED):
        return ModelFileError(
            f"{opening.path} is not a complete ONNX file ({message}): copy or export it again. "
            f"'edgeinfer export' turns models of other frameworks into ONNX."
        )
    if _UNKNOWN_OPERATOR in message:
        return ModelFileError(
            f"ONNX Runtime cannot open {opening.path}: {message}. 'edgeinfer export' names every "
            f"operator that it does not have, and where each is."
        )
    if any(mark in str(error) for mark in _FOREIGN):
        return ModelFileError(
            f"{opening.path} is no ONNX model, though written in the same way (protobuf), as those "
            f"of Caffe, TensorFlow and Paddle are: turn it into ONNX with 'edgeinfer export'."
        )
    reason = None if provider == "cpu" else failures.explain(str(error))
    if reason is not None:
        return ProviderError(f"The provider '{provider}' cannot open {opening.path}: {reason}.")
    if type(error).__name__ in (_OF_THE_GRAPH if provider == "cpu" else _OF_THE_FILE):
        return ModelFileError(
            f"ONNX Runtime cannot open {opening.path}: {message}. Export it again for an opset "
            f"and operators that {runtime_version()} knows."
        )
    if provider == "cpu" or message.startswith("Load model from"):
        return ModelFileError(f"ONNX Runtime cannot open {opening.path}: {message}.")
    return ProviderError(f"The provider '{provider}' cannot open {opening.path}: {message}.")


def run_error(error: Exception) -> EdgeInferError:
    """Say why a run failed, with the remedy where it is known."""
    reason = failures.explain(str(error))
    said = runtime_message(error)
    return ProviderError(
        f"Running the model failed: {said}." + (f" That is: {reason}." if reason else "")
    )


def runtime_message(error: BaseException) -> str:
    """The part of ONNX Runtime's message that says something, on one line.

    `[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a.onnx failed:...` and C++ source
    positions are dropped.
    """
    if "\nException from" in str(error):
        return failures.openvino_message(str(error)) or type(error).__name__
    text = " ".join(str(error).split())
    text = _without_code(text)
    marker = ".cc:"
    if marker in text:
        # "/onnxruntime_src/.../graph.cc:4200 void f(...) [ShapeInferenceError] why" keeps the why.
        head, _, tail = text.partition(marker)
        text = head.rpartition(" ")[0] + " " + tail.partition(") ")[2] if ") " in tail else text
    return _without_code(text.strip()).rstrip(".")[:400] or type(error).__name__


def _without_code(text: str) -> str:
    while text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    return text
