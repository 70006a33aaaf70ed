from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ProviderError
from edgeinfer.providers import PROVIDERS, Opening, onnxruntime, optimized
from edgeinfer.providers.profiling import Profile, TensorShape, current, recorded

pytestmark = pytest.mark.usefixtures("temp")
MakeModel = Callable[..., Path]
CHAIN = """net (float[4, 4] x) => (float[4, 4] y) { a = MatMul(x, x)  y = Sin(a) }"""
LOOP = """net (float[2] x) => (float[2] y) {
    count = Constant <value = int64 {3}> ()
    true = Constant <value = bool {1}> ()
    y = Loop (count, true, x) <body = turn (int64 i, bool on, float[2] before)
        => (bool more, float[2] after) { more = Identity(on)  after = Sin(before) }>
}"""


def profiled(path: Path, runs: int, packed: bool = True) -> Profile:
    opening = Opening(path, threads=1, sha256=open_model_file(path).sha256)
    with recorded(packed) as recording, closing(PROVIDERS["cpu"].open(opening)) as engine:
        binding = engine.bind({})
        for _ in range(runs):
            binding.run()
        binding.close()
        profile = recording.profile()
    assert profile is not None and profile.opening == opening
    return profile


def packing_model(path: Path) -> Path:
    """A product with a constant, which ONNX Runtime packs."""
    weights = numpy_helper.from_array(np.ones((8, 5), np.float32), "w")
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (3, 8)), ("y", (3, 5)))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    graph = helper.make_graph([node], "net", tensors[:1], tensors[1:], [weights])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path


def test_every_node_of_every_run_is_told_with_its_provider_and_shapes(
    make_model: MakeModel,
) -> None:
    profile = profiled(make_model(CHAIN), runs=3)
    assert len(profile.runs_ns) == 3 and profile.provider == "cpu"
    square = TensorShape("float", (4, 4))
    told = [(n.run, n.op_type, n.provider, n.inputs, n.outputs) for n in profile.nodes]
    assert told == [
        (run, *node)
        for run in range(3)
        for node in (
            ("MatMul", "cpu", (square, square), (square,)),
            ("Sin", "cpu", (square,), (square,)),
        )
    ]


def test_the_nodes_of_a_run_take_no_longer_than_the_run(make_model: MakeModel) -> None:
    profile = profiled(make_model(CHAIN), runs=4)
    for run, whole_ns in enumerate(profile.runs_ns):
        assert sum(n.duration_ns for n in profile.nodes if n.run == run) <= whole_ns


def test_of_a_loop_the_nodes_inside_are_told_and_not_the_loop(make_model: MakeModel) -> None:
    profile = profiled(make_model(LOOP), runs=2)
    assert [n.run for n in profile.nodes if n.op_type == "Sin"] == [0, 0, 0, 1, 1, 1]
    assert not any(n.op_type == "Loop" for n in profile.nodes)


def test_a_packed_constant_is_missing_unless_packing_is_off(tmp_path: Path) -> None:
    path = packing_model(tmp_path / "model.onnx")
    (packed,) = profiled(path, runs=1).nodes
    (whole,) = profiled(path, runs=1, packed=False).nodes
    assert packed.inputs == (TensorShape("float", (3, 8)),)
    assert whole.inputs == (*packed.inputs, TensorShape("float", (8, 5)))
    assert (packed.name, packed.index) == (whole.name, whole.index) == ("product", 0)


@pytest.mark.parametrize("record", [True, False])
def test_the_placement_is_checked_as_without_it(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, temp: Path, record: bool
) -> None:
    """Old ONNX Runtimes tell it by a profile of their own."""
    if not record:
        name = "get_provider_graph_assignment_info"
        for kind in onnxruntime().InferenceSession.__mro__:
            if name in vars(kind):
                monkeypatch.delattr(kind, name)
    path = make_model(CHAIN)
    with recorded() as recording, closing(PROVIDERS["cpu"].open(Opening(path, 1))) as engine:
        assert engine.served.placement.providers == {"cpu": {"MatMul": 1, "Sin": 1}}
        with closing(engine.bind({})) as binding:
            binding.run()
        profile = recording.profile()
    assert profile is not None and len(profile.runs_ns) == 1
    opening = Opening(path, 1, max_cpu_nodes=0)
    with recorded() as recording, pytest.raises(ProviderError, match="max-cpu-nodes"):
        PROVIDERS["cpu"].open(opening)
    assert recording.profile() is None
    assert list(temp.iterdir()) == []


def test_the_graph_that_was_optimized_ahead_is_what_is_profiled(make_model: MakeModel) -> None:
    path = make_model(CHAIN)
    with optimized.ahead():
        PROVIDERS["cpu"].open(Opening(path, 1, sha256=open_model_file(path).sha256)).close()
    assert len(profiled(path, runs=2).runs_ns) == 2


def test_nothing_is_recorded_outside(make_model: MakeModel, temp: Path) -> None:
    with recorded() as recording:
        assert current() is recording
    assert current() is None
    with closing(PROVIDERS["cpu"].open(Opening(make_model(CHAIN), 1))) as engine:
        engine.bind({}).run()
    assert recording.profile() is None
    assert list(temp.iterdir()) == []


def test_nothing_stays_behind_whatever_happens(make_model: MakeModel, temp: Path) -> None:
    path = make_model(CHAIN)
    with pytest.raises(RuntimeError, match="planted"), recorded():
        engine = PROVIDERS["cpu"].open(Opening(path, 1))
        assert [file for file in temp.rglob("*") if file.is_file()]
        raise RuntimeError("planted")
    engine.close()
    profiled(path, runs=1)
    assert list(temp.iterdir()) == []


def test_a_profile_that_is_no_json_is_an_error_that_says_so(make_model: MakeModel) -> None:
    with recorded() as recording, closing(PROVIDERS["cpu"].open(Opening(make_model(CHAIN), 1))):
        broken = Path(tempfile.gettempdir()) / "broken.json"
        broken.write_text("[{")

        class Session:
            def end_profiling(self) -> str:
                return str(broken)

        recording.opened(Session(), Opening(broken, 1), {"CPUExecutionProvider": "cpu"})
        with pytest.raises(ProviderError, match="profile cannot be read"):
            recording.profile()
