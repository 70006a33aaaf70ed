"""CUDA and TensorRT: the driver's devices, the libraries' versions, the cached engine."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
from collections.abc import Mapping
from pathlib import Path

from edgeinfer import compiled
from edgeinfer.errors import ProviderError
from edgeinfer.machine import this_machine
from edgeinfer.providers import option_tables
from edgeinfer.providers.base import Engine, Opening
from edgeinfer.providers.builtin import OrtProvider
from edgeinfer.providers.engine import open_engine
from edgeinfer.providers.ort import onnxruntime

_DRIVER = "libcuda.so.1"
_NO_DEVICE = 100
# Newest first, and the function that tells the version.
_LIBRARIES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("cuda", ("libcudart.so.13", "libcudart.so.12"), "cudaRuntimeGetVersion"),
    ("cudnn", ("libcudnn.so.9",), "cudnnGetVersion"),
    ("tensorrt", ("libnvinfer.so.11", "libnvinfer.so.10"), "getInferLibVersion"),
)
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


@functools.cache
def devices() -> tuple[str, ...] | str:
    """The numbers of the GPUs that CUDA's driver shows to this process, or why there are none."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return (
            f"there is no NVIDIA driver here ({_DRIVER} does not load): install it, and give a "
            f"container its GPU (--gpus all)"
        )
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code not in (0, _NO_DEVICE):
        return f"the NVIDIA driver does not start (CUDA failure {code}): restart the box"
    if code == _NO_DEVICE or count.value == 0:
        return "no NVIDIA GPU is visible: look at 'nvidia-smi' and CUDA_VISIBLE_DEVICES"
    return tuple(str(index) for index in range(count.value))


@functools.cache
def versions() -> Mapping[str, str]:
    """Driver, CUDA, cuDNN and TensorRT, and the GPUs, as far as they are there."""
    preload()
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        found["driver"] = _DRIVER_FILE.read_text(encoding="utf-8").split("\n")[0].strip()
    for name, files, function in _LIBRARIES:
        version = next(filter(None, (_version(file, function) for file in files)), None)
        if version is not None:
            found[name] = version
    for index, gpu in enumerate(_gpus()):
        found[f"gpu{index}"] = gpu
    return found


def _version(file: str, function: str) -> str | None:
    try:
        call = getattr(ctypes.CDLL(file), function)
    except (OSError, AttributeError):
        return None
    if function == "cudaRuntimeGetVersion":
        value = ctypes.c_int()
        call(ctypes.byref(value))
        return str(value.value)
    call.restype = ctypes.c_size_t
    return str(call())


def _gpus() -> list[str]:
    """Name and compute capability of each GPU: an engine fits no other."""
    names = []
    shown = devices()
    if isinstance(shown, str):
        return []
    driver = ctypes.CDLL(_DRIVER)
    for index in range(len(shown)):
        name, major, minor = ctypes.create_string_buffer(128), ctypes.c_int(), ctypes.c_int()
        device = ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, 128, device)
        driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        names.append(f"{name.value.decode(errors='replace')} sm_{major.value}{minor.value}")
    return names


@functools.cache
def preload() -> None:
    """Load CUDA and cuDNN from their wheels, which the system's loader does not search."""
    load = getattr(onnxruntime(), "preload_dlls", None)
    if load is not None:
        # It prints what it does not find; what is really missing, opening says better.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            load()


class CudaProvider(OrtProvider):
    """ONNX Runtime's CUDA provider, its libraries loaded first."""

    def open(self, opening: Opening) -> Engine:
        """Open a model; see `OrtProvider.open`."""
        preload()
        return super().open(opening)


class TensorrtProvider(OrtProvider):
    """ONNX Runtime's TensorRT provider, whose engines are kept by content."""

    def open(self, opening: Opening) -> Engine:
        """Open a model with an engine from the cache, built first where that is allowed.

        Raises:
            ModelFileError: if ONNX Runtime cannot read the model.
            ProviderError: if there is no engine and none may be built, or as `OrtProvider.open`.
        """
        preload()
        extra = _profile(opening)
        if not opening.sha256:
            return open_engine(opening, self.request(opening, extra))
        key = self._key(opening, extra)
        folder = compiled.find("tensorrt", key)
        if folder is None and not opening.build:
            raise ProviderError(
                f"There is no TensorRT engine of {opening.path} for this box, and building one "
                f"takes minutes: build it once with 'edgeinfer warm {opening.path} --provider "
                f"tensorrt', or give tune --build."
            )

        def build(into: Path) -> None:
            timing = {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(into)}
            request = self.request(opening, {**extra, **_cached_in(into), **timing})
            open_engine(opening, request).close()
            if not any(into.iterdir()):
                raise ProviderError(
                    f"TensorRT built no engine of {opening.path} when it was opened: it leaves "
                    f"shapes open. Give them with --input-shape."
                )

        if folder is None:
            folder = compiled.obtain("tensorrt", key, build)
        cached = {} if folder is None else _cached_in(folder)
        return open_engine(opening, self.request(opening, {**extra, **cached}))

    def _key(self, opening: Opening, extra: Mapping[str, str]) -> dict[str, str]:
        request = self.request(opening, extra)
        machine = this_machine()
        return {
            "sha256": opening.sha256,
            "device": opening.device or "0",
            "cpu": machine.cpu,
            **{f"option {name}": value for name, value in request.options.items()},
            **{f"shape {name}": str(shape) for name, shape in opening.shapes.items()},
            **{f"version {name}": value for name, value in self.versions().items()},
        }


def _cached_in(folder: Path) -> dict[str, str]:
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}


def _profile(opening: Opening) -> dict[str, str]:
    """The shapes that an engine is built for; the same three times, as for a fixed graph."""
    text = ",".join(
        f"{name}:{'x'.join(str(size) for size in shape)}" for name, shape in opening.shapes.items()
    )
    kinds = ("min", "opt", "max")
    return {f"trt_profile_{kind}_shapes": text for kind in kinds} if text else {}


CUDA = CudaProvider(
    name="cuda",
    ort_name="CUDAExecutionProvider",
    kind="gpu",
    options=option_tables.CUDA,
    device_option="device_id",
    # EXHAUSTIVE, the default, makes the first run of each shape take seconds; TF32 is narrower
    # than the file's float32; growing by powers of two takes up to twice the memory.
    defaults={
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    },
    remedy="install onnxruntime-gpu (on a Jetson: its own wheel) beside CUDA and cuDNN",
    library="libonnxruntime_providers_cuda.so",
    narrowing={"use_tf32": "tf32"},
    tuned=({"cudnn_conv_algo_search": "EXHAUSTIVE"}, {"use_tf32": "1"}, {"prefer_nhwc": "1"}),
    memory="cuda",
    list_devices=devices,
    list_versions=versions,
)
TENSORRT = TensorrtProvider(
    name="tensorrt",
    ort_name="TensorrtExecutionProvider",
    kind="gpu",
    options=option_tables.TENSORRT,
    device_option="device_id",
    remedy="install TensorRT and onnxruntime-gpu (on a Jetson: its own wheel)",
    auto_skip="it builds an engine for minutes; name it to use it",
    library="libonnxruntime_providers_tensorrt.so",
    narrowing={
        "trt_int8_enable": "int8",
        "trt_bf16_enable": "bf16",
        "trt_fp16_enable": "fp16",
    },
    tuned=({"trt_fp16_enable": "1"},),
    memory="cuda",
    list_devices=devices,
    list_versions=versions,
)
