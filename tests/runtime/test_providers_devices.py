"""Buffers in a device's memory, and TensorRT's engines in the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgeinfer import compiled
from edgeinfer.errors import InputError, ProviderError
from edgeinfer.providers import Opening, nvidia
from edgeinfer.providers.device_binding import DeviceBinding
from edgeinfer.providers.engine import Request
from edgeinfer.spec import TensorSpec

MakeModel = Callable[..., Path]
X = TensorSpec("x", "float32", ("n", 2))
Y = TensorSpec("y", "float32", ("n", 2))


def bound(path: Path, rows: int, fixed: bool) -> DeviceBinding:
    """ONNX Runtime's device values over its own CPU, the only device that is everywhere."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = (rows, 2)
    inputs = (dataclasses.replace(X, shape=shape) if fixed else X,)
    outputs = (dataclasses.replace(Y, shape=shape) if fixed else Y,)
    return DeviceBinding(onnxruntime, session, inputs, outputs, {"x": shape}, ("cpu", 0))


@pytest.mark.parametrize("fixed", [True, False])
def test_inputs_are_copied_in_and_outputs_out_and_both_are_timed(
    fixed: bool, make_model: MakeModel
) -> None:
    path = make_model("net (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }")
    binding = bound(path, 3, fixed)
    assert binding.transfers_ns() == (None, None)
    for value in (1, 2):
        binding.inputs["x"][:] = value
        np.testing.assert_array_equal(binding.run()["y"], np.full((3, 2), 2 * value))
        transferred = binding.transfers_ns()
        assert all(took is not None and took >= 0 for took in transferred)
    binding.close()
    binding.close()


def test_inputs_of_another_length_get_other_buffers(make_model: MakeModel) -> None:
    binding = bound(make_model("net (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }"), 3, True)
    for rows in (3, 5, 1):
        binding.rebind({"x": np.ones((rows, 2), np.float32)})
        assert binding.run()["y"].shape == (rows, 2)


def test_a_device_that_fails_is_a_provider_error(make_model: MakeModel) -> None:
    path = make_model(
        """
        net (float[n, 2] x) => (float[n, 2] y)
        { i = Constant<value = int64[1] {9}>() g = Gather(x, i) y = Add(x, g) }
        """
    )
    with pytest.raises(ProviderError, match="Running the model failed"):
        bound(path, 3, False).run()


def test_text_is_refused(make_model: MakeModel) -> None:
    path = make_model("net (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    spec = TensorSpec("x", "tensor(string)", ())
    with pytest.raises(InputError, match="not a tensor of numbers"):
        DeviceBinding(onnxruntime, session, (spec,), (), {"x": ()}, ("cpu", 0))


class Opened:
    def close(self) -> None: ...


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """TensorRT as ONNX Runtime drives it: an engine is written into the folder that it is given."""
    asked: list[Request] = []

    def open_engine(opening: Opening, request: Request) -> Any:
        asked.append(request)
        folder = request.options.get("trt_engine_cache_path")
        if folder is not None and not any(Path(folder).glob("*.engine")):
            Path(folder, "graph.engine").write_bytes(opening.path.read_bytes())
        return Opened()

    monkeypatch.setattr(nvidia, "open_engine", open_engine)
    monkeypatch.setattr(nvidia, "preload", lambda: None)
    made_up = dataclasses.replace(nvidia.TENSORRT, list_versions=lambda: {"tensorrt": "10.9"})
    monkeypatch.setattr(nvidia, "TENSORRT", made_up)
    return asked


def test_an_engine_is_built_once_and_then_taken_from_the_cache(
    tensorrt: list[Request], tmp_path: Path
) -> None:
    path = tmp_path / "one.onnx"
    path.write_bytes(b"one")
    opening = Opening(path, threads=1, sha256="1" * 64)
    nvidia.TENSORRT.open(opening)
    assert len(tensorrt) == 2  # the building, and the opening from the cache
    folder = Path(tensorrt[1].options["trt_engine_cache_path"])
    assert (folder / "graph.engine").read_bytes() == b"one"
    nvidia.TENSORRT.open(dataclasses.replace(opening, build=False))
    assert len(tensorrt) == 3
    assert tensorrt[2].options["trt_engine_cache_path"] == str(folder)
    assert tensorrt[2].options["trt_engine_cache_enable"] == "1"


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "3" * 64},
        {"device": "1"},
        {"options": {"trt_fp16_enable": "1"}},
        {"shapes": {"x": (1, 2)}},
    ],
)
def test_another_model_device_option_or_shape_is_another_engine(
    changed: dict[str, Any], tensorrt: list[Request], tmp_path: Path
) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(b"two")
    opening = Opening(path, threads=1, sha256="2" * 64)
    nvidia.TENSORRT.open(opening)
    other = dataclasses.replace(opening, build=False, **changed)
    with pytest.raises(ProviderError, match="no TensorRT engine.*edgeinfer warm"):
        nvidia.TENSORRT.open(other)


def test_without_a_cache_or_a_hash_it_opens_all_the_same(
    tensorrt: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "three.onnx"
    path.write_bytes(b"three")
    nvidia.TENSORRT.open(Opening(path, threads=1))
    monkeypatch.setattr(compiled, "find", lambda *_: None)
    monkeypatch.setattr(compiled, "obtain", lambda *_, **__: None)
    nvidia.TENSORRT.open(Opening(path, threads=1, sha256="4" * 64))
    assert all("trt_engine_cache_path" not in request.options for request in tensorrt)


def test_a_graph_that_builds_no_engine_at_opening_is_refused(
    tensorrt: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "open_engine", lambda *_: Opened())
    path = tmp_path / "four.onnx"
    path.write_bytes(b"four")
    with pytest.raises(ProviderError, match="leaves shapes open.*--input-shape"):
        nvidia.TENSORRT.open(Opening(path, threads=1, sha256="5" * 64))


def test_shapes_become_the_profile_of_the_engine(tensorrt: list[Request], tmp_path: Path) -> None:
    path = tmp_path / "five.onnx"
    path.write_bytes(b"five")
    nvidia.TENSORRT.open(Opening(path, threads=1, shapes={"x": (1, 3, 8, 8), "m": (2,)}))
    for kind in ("min", "opt", "max"):
        assert tensorrt[0].options[f"trt_profile_{kind}_shapes"] == "x:1x3x8x8,m:2"


def test_devices_come_from_the_driver_or_there_is_a_reason() -> None:
    found = nvidia.devices()
    assert found if isinstance(found, tuple) else "NVIDIA" in found


def test_a_gpu_that_does_not_exist_names_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    provider = dataclasses.replace(nvidia.CUDA, list_devices=lambda: ("0", "1"))
    assert provider.why_unavailable("1") is None
    assert provider.why_unavailable("2") == "it has no device '2'; there is 0, 1"
    assert [device.name for device in provider.devices()] == ["cuda:0", "cuda:1"]
    gone = dataclasses.replace(nvidia.CUDA, list_devices=lambda: "no NVIDIA GPU is visible")
    assert gone.why_unavailable(None) == "no NVIDIA GPU is visible"
    assert provider.request(Opening(Path("m"), 1, device="1")).memory == ("cuda", 1)
