"""CUDA, TensorRT and TensorRT-RTX: the contract, parity with the CPU provider, device buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import EdgeInferError, ProviderError, UsageError
from edgeinfer.frames import Array
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.providers import Opening, open_selected

Make = Callable[..., Path]
Provider = Callable[[str], str]
ALL = pytest.mark.parametrize("name", ["cuda", "tensorrt", "tensorrt-rtx"])
# An engine takes minutes.
pytestmark = pytest.mark.timeout(1800)
COSTLY = {"Conv", "MatMul", "Gemm", "LSTM"}


def opened(path: Path, name: str) -> Model:
    return edgeinfer.load(path, name, use_plan=False)


@ALL
def test_every_costly_node_runs_where_it_was_asked_to(
    provider: Provider, model: Make, picture: Array, name: str
) -> None:
    with opened(model("yolov8n-like", 320), provider(name)) as running:
        said, result = running.summary(), running(picture)
    assert said["provider"] == said["requested_provider"] == result.served.provider == name
    assert said["flags"] == []
    assert said["compute_precision"] == "fp32"
    placed = said["placement"]["providers"]
    assert placed[name]["nodes"] > 0
    assert not COSTLY & set(placed.get("cpu", {}).get("op_types", {}))


@ALL
@pytest.mark.parametrize("which", ["mobilenet-v3-small-like", "deit-tiny-like", "yolox-nano-like"])
def test_the_outputs_are_those_of_the_cpu(
    provider: Provider, model: Make, picture: Array, name: str, which: str
) -> None:
    path = model(which)
    with opened(path, provider(name)) as running, opened(path, "cpu") as reference:
        ours, theirs = running.raw(picture), reference.raw(picture)
    for output, values in theirs.items():
        # FP32 in another order; TF32 would be off by 1e-2.
        np.testing.assert_allclose(ours[output], values, rtol=0, atol=1e-3 * np.ptp(values))


def test_a_recurrent_model_runs_on_cuda(provider: Provider, model: Make) -> None:
    path = model("lstm-like")
    readings = np.random.default_rng(0).standard_normal((1, 128, 9)).astype(np.float32)
    with opened(path, provider("cuda")) as running, opened(path, "cpu") as reference:
        feed = {"readings": readings}
        ours, theirs = running.raw(feed)["logits"], reference.raw(feed)["logits"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.ptp(theirs))


@ALL
def test_a_detector_finds_the_same(
    provider: Provider, model: Make, picture: Array, name: str
) -> None:
    path = model("yolov8n-like", 320)
    with opened(path, provider(name)) as running, opened(path, "cpu") as reference:
        ours, theirs = running(picture).value, reference(picture).value
    assert isinstance(ours, edgeinfer.Detections) and isinstance(theirs, edgeinfer.Detections)
    assert ours.class_ids.tolist() == theirs.class_ids.tolist()
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=0.01)
    np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=2.0)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_buffers_lie_on_the_device_and_copies_are_timed(
    provider: Provider, model: Make, name: str
) -> None:
    path = model("mobilenet-v2-like")
    sha256 = open_model_file(path).sha256
    engine = open_selected(provider(name), Opening(path, threads=1, sha256=sha256)).engine
    binding = engine.bind({})
    assert type(binding).__name__ == "DeviceBinding"
    buffer = binding.inputs["input"]
    buffer[:] = 0.5
    first = {key: values.copy() for key, values in binding.run().items()}
    to_device, from_device = binding.transfers_ns()
    assert to_device is not None and to_device > 0
    assert from_device is not None and from_device > 0
    buffer[:] = np.random.default_rng(0).random(buffer.shape)
    second = {key: values.copy() for key, values in binding.run().items()}
    buffer[:] = 0.5
    third = {key: values.copy() for key, values in binding.run().items()}
    assert not np.array_equal(first["logits"], second["logits"])
    np.testing.assert_allclose(first["logits"], third["logits"], atol=1e-4)
    binding.close()
    engine.close()


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_result_tells_the_copies_apart_from_inference(
    provider: Provider, model: Make, picture: Array, name: str
) -> None:
    with opened(model("mobilenet-v2-like"), provider(name)) as running:
        stages = running(picture).stages_ns
    assert stages["transfer_in"] > 0 and stages["transfer_out"] > 0 and stages["inference"] > 0


@ALL
def test_two_lanes_give_what_one_gives(
    provider: Provider, model: Make, picture: Array, name: str
) -> None:
    from edgeinfer.frames import frame_from_array

    with opened(model("mobilenet-v2-like"), provider(name)) as running:
        frame = frame_from_array(picture)
        alone = running.lane().raw(frame)["logits"]
        lanes = [running.lane(), running.lane()]
        taken: list[Array] = []

        def work(index: int) -> None:
            taken.extend(lanes[index].raw(frame)["logits"] for _ in range(20))

        threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) == 40
    for logits in taken:
        np.testing.assert_allclose(logits, alone, atol=1e-3)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(
    provider: Provider, model: Make, name: str
) -> None:
    with pytest.raises(ProviderError, match=r"99"):
        opened(model("mobilenet-v2-like"), f"{provider(name)}:99")


def test_a_wrong_option_is_refused_with_a_suggestion(provider: Provider, model: Make) -> None:
    options = LoadOptions(provider("cuda"), provider_options={"use_tf23": "0"})
    with pytest.raises(UsageError, match="use_tf32"):
        open_model(model("mobilenet-v2-like"), options)


def test_too_little_memory_is_told_and_the_next_opening_works(
    provider: Provider, model: Make, picture: Array
) -> None:
    path = model("resnet50-like")
    options = LoadOptions(
        provider("cuda"), provider_options={"gpu_mem_limit": str(8 << 20)}, use_plan=False
    )

    def starved() -> None:
        with open_model(path, options) as running:
            running(picture)

    with pytest.raises(EdgeInferError):
        starved()
    with opened(path, "cuda") as running:
        assert running(picture).served.provider == "cuda"
