from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.frames import Frame, frame_from_array
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import Opening
from edgeinfer.providers.profiling import NodeTime, Profile, TensorShape, recorded
from edgeinfer_bench import operators
from edgeinfer_bench.flops import flops
from edgeinfer_bench.models import model_file
from edgeinfer_bench.operators import profile_operators

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("temp")]

CPU = LoadOptions(provider="cpu", threads=1)


def picture() -> Frame:
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    return frame_from_array(noise)


def readings(length: int) -> Frame:
    return frame_from_array({"readings": np.ones((1, length, 9), np.float32)})


def test_a_table_holds_every_type_and_its_parts_add_up(tmp_path: Path, temp: Path) -> None:
    path = model_file("lstm-like", tmp_path, 16)
    table = profile_operators(path, CPU, [readings(16)], runs=3)
    assert json.loads(json.dumps(table)) == table
    assert (table["runs"], table["reason"]) == (3, None)
    counts = {(row["op_type"], row["provider"]): row["count"] for row in table["by_type"]}
    assert counts["LSTM", "cpu"] == 2 and counts["Gemm", "cpu"] == 1
    assert sum(row["share"] for row in table["by_type"]) == pytest.approx(1)
    assert sum(row["mean_ns"] for row in table["by_type"]) == pytest.approx(
        table["kernel_ns"], abs=len(table["by_type"])
    )
    assert 0 < table["kernel_ns"] <= table["frame_ns"]
    times = [row["mean_ns"] for row in table["top"]]
    assert times == sorted(times, reverse=True) and len(times) == sum(counts.values())
    units, layers = 128, 16 * 4 * 128 * (9 + 128 + 128 + 128)
    assert table["gflop"] == pytest.approx(2 * (layers + units * 6) / 1e9, rel=1e-12)
    assert table["gflops"] == pytest.approx(table["gflop"] / (table["kernel_ns"] / 1e9), rel=1e-3)
    assert table["share_of_peak"] == pytest.approx(
        table["gflops"] / table["peak_gflops"]["fp32"], rel=1e-3
    )
    assert set(table["peak_gflops"]) == {"fp32"}
    others = [row for row in table["by_type"] if row["op_type"] not in ("LSTM", "Gemm")]
    assert others and all(
        row["gflop"] is row["gflops"] is row["precision"] is None for row in others
    )
    assert list(temp.iterdir()) == []


def of_the_file(path: Path) -> int:
    """Operations by the shapes that ONNX itself infers, without anything that ran."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    known = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in known}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}

    def shaped(names: Any) -> tuple[TensorShape, ...]:
        return tuple(TensorShape("float", shapes[name]) for name in names if name)

    return sum(
        flops(NodeTime("", 0, n.op_type, "", 0, 0, shaped(n.input), shaped(n.output))) or 0
        for n in model.graph.node
    )


@pytest.mark.parametrize(
    ("name", "size", "giga"),
    [
        ("resnet50-like", 224, 2 * 4.09),  # torchvision: 4.09 G multiply-adds
        ("mobilenet-v3-small-like", 224, 2 * 0.056),  # Howard et al. 2019, table 3
        ("deit-tiny-like", 224, 2 * 1.26),  # Touvron et al. 2021
        ("yolov8n-like", 64, None),
        ("mobilenet-v2-like", 64, None),
    ],
)
def test_a_whole_model_takes_what_its_authors_state(
    tmp_path: Path, name: str, size: int, giga: float | None
) -> None:
    path = model_file(name, tmp_path, size)
    profile, _ = operators._record(path, CPU, [picture()], 1)
    assert profile is not None
    nodes = operators._nodes(profile, operators._shapes(profile, path, CPU, [picture()]))
    table = operators._table(nodes, {"fp32": 100.0})
    assert table["gflop"] == pytest.approx(of_the_file(path) / 1e9, rel=1e-12)
    if giga is not None:
        assert table["gflop"] == pytest.approx(giga, rel=0.03)


def test_the_model_is_opened_as_it_was_asked_for(tmp_path: Path) -> None:
    """Threads, spinning and preprocessing in the graph."""
    path = model_file("mobilenet-v2-like", tmp_path, 64)
    options = LoadOptions(provider="cpu", threads=1, spinning=False, preprocess="graph")
    profile, served = operators._record(path, options, [picture()], 2)
    assert profile is not None and served.startswith("onnxruntime")
    assert (profile.opening.threads, profile.opening.spinning) == (1, False)
    assert profile.opening.path != path and len(profile.runs_ns) == 2
    first = min(profile.nodes, key=lambda node: node.index)
    with recorded(), open_model(path, options) as model:
        assert model.plan.preprocess == "graph"
        (fed,) = model.inputs
    assert fed.dtype == "uint8" and first is not None
    assert any("uint8" in {t.dtype for t in node.inputs} for node in profile.nodes)


def node(op_type: str, provider: str, run: int, us: int, *shapes: tuple[int, ...]) -> NodeTime:
    told = tuple(TensorShape("float", shape) for shape in shapes)
    return NodeTime(op_type, 0, op_type, provider, run, 1000 * us, told[:-1], told[-1:])


def tabled(nodes: list[NodeTime], runs: int, peaks: Mapping[str, float]) -> dict[str, Any]:
    opening = Opening(Path("model.onnx"), threads=1)
    profile = Profile(opening, "cuda", (1_000_000,) * runs, tuple(nodes))
    return operators._table(operators._nodes(profile, operators._Shapes({}, {})), peaks)


def test_runs_that_warm_up_are_left_out() -> None:
    shapes = ((1, 3, 8, 8), (5, 3, 3, 3), (1, 5, 6, 6))
    slow = [node("Conv", "cuda", run, 900, *shapes) for run in range(5)]
    fast = [node("Conv", "cuda", run, 10, *shapes) for run in (5, 6)]
    (row,) = tabled([*slow, *fast], 7, {})["by_type"]
    assert (row["mean_ns"], row["count"]) == (10_000, 1)
    assert row["gflops"] == pytest.approx(2 * 180 * 27 / 10_000)


def test_what_a_provider_fused_is_one_row_and_leaves_the_total_open() -> None:
    fused = node("TensorrtExecutionProvider_TRTKernel_graph_net_1", "tensorrt", 0, 40, (1, 3))
    product = node("MatMul", "cuda", 0, 10, (3, 4), (4, 5), (3, 5))
    table = tabled([fused, product], 1, {"fp32": 1.0})
    assert [row["provider"] for row in table["by_type"]] == ["tensorrt", "cuda"]
    assert table["by_type"][0]["gflop"] is None and table["by_type"][1]["gflop"] is not None
    assert table["gflop"] is table["gflops"] is table["share_of_peak"] is None


def test_a_share_of_the_peak_minds_each_precision() -> None:
    """200 operations at 1 a nanosecond and 2000 at 10 take 400 of the 2000 that they took."""
    floats = node("MatMul", "cpu", 0, 1, (1, 10), (10, 10), (1, 10))
    rows, result = TensorShape("uint8", (10, 100)), TensorShape("int32", (10, 1))
    integers = NodeTime("i", 1, "MatMulInteger", "cpu", 0, 1000, (rows,), (result,))
    assert (flops(floats), flops(integers)) == (200, 2000)
    table = tabled([floats, integers], 1, {"fp32": 1.0, "int8": 10.0})
    assert table["share_of_peak"] == pytest.approx(400 / 2000)
    told = {row["op_type"]: row["precision"] for row in table["by_type"]}
    assert told == {"MatMul": "fp32", "MatMulInteger": "int8"}
    assert tabled([floats, integers], 1, {"fp32": 1.0})["share_of_peak"] is None


def test_an_engine_without_a_profile_gives_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's own runtime is one."""
    path = model_file("lstm-like", tmp_path, 8)
    monkeypatch.setattr(
        operators, "_record", lambda *arguments, **more: (None, "openvino 2026.1.0")
    )
    table = profile_operators(path, CPU, [readings(8)])
    assert table == {"reason": "openvino 2026.1.0 tells nothing about single operators"}


def test_the_environment_is_as_before_and_nothing_stays_behind_after_an_error(
    tmp_path: Path, temp: Path
) -> None:
    path = model_file("lstm-like", tmp_path, 8)
    before = dict(os.environ)
    wrong = frame_from_array({"nothing": np.ones(3, np.float32)})
    with pytest.raises(EdgeInferError, match="nothing"):
        profile_operators(path, CPU, [readings(8), wrong], runs=3)
    assert dict(os.environ) == before
    assert list(temp.iterdir()) == []


@pytest.mark.parametrize(("frames", "runs"), [(0, 3), (1, 0)])
def test_nothing_to_run_is_refused(tmp_path: Path, frames: int, runs: int) -> None:
    with pytest.raises(UsageError, match=f"{runs} and {frames}"):
        profile_operators(tmp_path / "none.onnx", CPU, [readings(8)] * frames, runs=runs)
