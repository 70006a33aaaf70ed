"""OpenVINO against ONNX Runtime's CPU provider on the same inputs, whatever serves it here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ProviderError
from edgeinfer.heads import HEADS
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import PROVIDERS, Opening
from edgeinfer.providers.openvino import OpenVinoProvider

OPENVINO = PROVIDERS["openvino"]
assert isinstance(OPENVINO, OpenVinoProvider)
pytestmark = pytest.mark.skipif(
    OPENVINO.why_unavailable(None) is not None, reason="no OpenVINO here"
)
SERVER = OPENVINO.server()
Build = Callable[[str], Path]
PICTURE = np.random.default_rng(3).integers(0, 256, (48, 80, 3), np.uint8)


def both(path: Path, feed: dict[str, np.ndarray], **more: Any) -> list[dict[str, np.ndarray]]:
    """The outputs of the CPU provider and of OpenVINO."""
    found = []
    for name in ("cpu", "openvino"):
        engine = PROVIDERS[name].open(Opening(path, threads=1, **more))
        binding = engine.bind({key: array.shape for key, array in feed.items()})
        binding.rebind(feed)
        found.append({key: array.copy() for key, array in binding.run().items()})
        binding.close()
        engine.close()
    return found


@pytest.mark.parametrize("head", sorted(HEADS))
def test_every_head_says_the_same_on_openvino(head: str, head_model: Build) -> None:
    results = {}
    for provider in ("cpu", "openvino"):
        options = LoadOptions(provider=provider, threads=1, use_plan=False)
        with open_model(head_model(head), options) as model:
            assert model.served.provider == provider
            assert model.served.compute_precision == "fp32"
            results[provider] = model(PICTURE).to_dict(), model.raw(PICTURE)
    (said, raw), (other, other_raw) = results["cpu"], results["openvino"]
    assert raw.keys() == other_raw.keys()
    for name in raw:
        np.testing.assert_allclose(other_raw[name], raw[name], rtol=1e-3, atol=1e-4)
    same_up_to_rounding(said, other)
    if HEADS[head].task == "detect":
        assert said["detections"], "a test without detections shows nothing"


def same_up_to_rounding(one: Any, other: Any, at: str = "result") -> None:
    """Compare two results, what was measured or names the provider left out."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one.keys() - {"stages_ns", "latency_ns", "age_ns", "provider"}:
            same_up_to_rounding(one[key], other[key], f"{at}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), at
        for index, pair in enumerate(zip(one, other, strict=True)):
            same_up_to_rounding(*pair, f"{at}[{index}]")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-2), at
    else:
        assert one == other, at


def test_preprocessing_in_the_graph_gives_the_same(head_model: Build) -> None:
    found = []
    for provider in ("cpu", "openvino"):
        options = LoadOptions(provider=provider, threads=1, preprocess="graph", use_plan=False)
        with open_model(head_model("yolov8"), options) as model:
            found.append(model.raw(PICTURE)["output"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("node", "taken", "given"),
    [
        ("Add(x, x)", "float16", "float16"),
        ("Cast<to = 1>(x)", "uint8", "float"),
        ("Sub(x, x)", "int64", "int64"),
        ("Greater(x, x)", "int32", "bool"),
        ("Not(x)", "bool", "bool"),
        ("Exp(x)", "double", "double"),
    ],
)
def test_every_type_comes_and_goes_as_it_is(
    node: str, taken: str, given: str, make_model: Build
) -> None:
    path = make_model(
        f"net ({taken}[2, 3] x, float[2, 2] m) => ({given}[2, 3] y, float[2, 2] z) "
        f"{{ y = {node} z = MatMul(m, m) }}"
    )
    dtype = {"double": "float64"}.get(taken, taken)
    feed = {
        "x": np.arange(6).reshape(2, 3).astype(dtype),
        "m": np.array([[1, 2], [3, 4]], np.float32),
    }
    ours, theirs = both(path, feed)
    assert theirs["y"].dtype == ours["y"].dtype
    np.testing.assert_allclose(theirs["y"], ours["y"], rtol=1e-3)
    np.testing.assert_array_equal(theirs["z"], ours["z"])


def test_a_quantized_graph_agrees_within_a_step(make_model: Build) -> None:
    path = make_model(
        """
        net (float[1, 8] x) => (float[1, 4] y)
        <float s = {0.02}, uint8 z = {128}, float ws = {0.01}, int8 wz = {0}>
        {
          q = QuantizeLinear(x, s, z)
          d = DequantizeLinear(q, s, z)
          range = Constant<value = int8[8, 4] {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14,
            15, -16, 17, -18, 19, -20, 21, -22, 23, -24, 25, -26, 27, -28, 29, -30, 31, -32}>()
          w = DequantizeLinear(range, ws, wz)
          y = MatMul(d, w)
        }
        """
    )
    feed = {"x": np.linspace(-1, 1, 8, dtype=np.float32)[None]}
    ours, theirs = both(path, feed)
    np.testing.assert_allclose(theirs["y"], ours["y"], atol=0.02)
    engine = PROVIDERS["openvino"].open(Opening(path, threads=1))
    assert engine.served.compute_precision == "int8"


OPEN = """
net (float[n, 2] x) => (float[n, 2] y, int64[1] rows)
{
  y = Relu(x)
  s = Shape(x)
  zero = Constant<value = int64[1] {0}>()
  rows = Gather(s, zero)
}
"""


def test_inputs_of_any_length_are_taken_where_the_file_leaves_it_open(make_model: Build) -> None:
    engine = PROVIDERS["openvino"].open(Opening(make_model(OPEN), threads=1))
    assert engine.inputs[0].shape == ("n", 2)
    binding = engine.bind({"x": (1, 2)})
    for rows in (1, 3, 2):
        binding.rebind({"x": np.full((rows, 2), rows, np.float32)})
        found = binding.run()
        assert found["y"].tolist() == [[rows, rows]] * rows
        assert found["rows"].tolist() == [rows]


def test_given_shapes_reach_the_model(make_model: Build) -> None:
    path = make_model(OPEN)
    shapes = {"x": (5, 2)}
    ours, theirs = both(path, {"x": np.ones((5, 2), np.float32)}, shapes=shapes)
    assert theirs["rows"].tolist() == ours["rows"].tolist() == [5]


def test_a_recurrent_network_gives_the_same(make_model: Build) -> None:
    path = make_model(
        """
        net (float[4, 1, 2] x, float[1, 12, 2] w, float[1, 12, 3] r) => (float[4, 1, 1, 3] y)
        { y, h, c = LSTM<hidden_size = 3>(x, w, r) }
        """
    )
    random = np.random.default_rng(5)
    feed = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in (("x", (4, 1, 2)), ("w", (1, 12, 2)), ("r", (1, 12, 3)))
    }
    if SERVER == "builtin":
        with pytest.raises(ProviderError, match="1 LSTM"):  # it leaves it to the CPU
            both(path, feed)
    else:
        ours, theirs = both(path, feed)
        np.testing.assert_allclose(theirs["y"], ours["y"], rtol=1e-3, atol=1e-5)


def test_two_bindings_of_one_model_keep_apart(make_model: Build) -> None:
    text = "net (float[1, 4] x) => (float[1, 4] y) { y = Add(x, x) }"
    engine = PROVIDERS["openvino"].open(Opening(make_model(text), threads=1))
    one, two = engine.bind({}), engine.bind({})
    one.inputs["x"][:] = 1
    two.inputs["x"][:] = 2
    assert one.run()["y"].tolist() == [[2, 2, 2, 2]]
    assert two.run()["y"].tolist() == [[4, 4, 4, 4]]
    assert one.run()["y"].tolist() == [[2, 2, 2, 2]]


def test_lanes_run_at_the_same_time_with_streams_of_their_own(head_model: Build) -> None:
    engine = OPENVINO.open(Opening(head_model("yolov8"), threads=1, lanes=2))
    bindings = [engine.bind({}) for _ in range(2)]
    found: list[list[np.ndarray]] = [[], []]

    def work(index: int) -> None:
        for value in range(20):
            bindings[index].inputs["images"][:] = value / 20 + index
            found[index].append(bindings[index].run()["output"].copy())

    workers = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    alone = PROVIDERS["cpu"].open(Opening(head_model("yolov8"), threads=1)).bind({})
    for index in range(2):
        for value, output in enumerate(found[index]):
            alone.inputs["images"][:] = value / 20 + index
            np.testing.assert_allclose(output, alone.run()["output"], rtol=1e-3, atol=1e-3)


def test_buffers_are_reused_from_run_to_run(make_model: Build) -> None:
    text = "net (float[1, 4] x) => (float[1, 4] y) { y = Add(x, x) }"
    binding = PROVIDERS["openvino"].open(Opening(make_model(text), threads=1)).bind({})
    addresses = set()
    for value in (1, 2, 3):
        binding.inputs["x"][:] = value
        found = binding.run()["y"]
        assert found.tolist() == [[2 * value] * 4]
        addresses.add(found.ctypes.data)
    assert len(addresses) == 1
