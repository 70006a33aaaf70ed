"""The accuracy gate: what it blames, what it keeps in float, and when it says no."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeinfer.errors import CheckFailed, UsageError
from edgeinfer.evaluate import Evaluation, change_text, loss
from edgeinfer.measure import ratio
from edgeinfer.results import Classes, Detections
from edgeinfer_export import export
from edgeinfer_export.gate.base import Attempt, Judge, Verdict
from edgeinfer_export.gate.blame import blame
from edgeinfer_export.gate.budget import check_metric
from edgeinfer_export.gate.groups import groups_of
from edgeinfer_export.gate.judges import NumberJudge
from edgeinfer_export.gate.search import MAX_ATTEMPTS, Search
from edgeinfer_export.gate.speed import Speed
from edgeinfer_export.job import too_few
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import ArrayCalibration
from edgeinfer_export.quantize.static import Quantizer, quantizer
from edgeinfer_export.steps.accuracy import check_drop, check_not_blind
from edgeinfer_export.steps.agreement import apart_notes, blind, compare
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.sweep import sweep


def chain(*, bad: int, layers: int = 6) -> onnx.ModelProto:
    """Convolutions in a row; one mixes two kinds of numbers, which one scale cannot hold."""
    random = np.random.default_rng(5)
    nodes, weights = [], {}
    name = "x"
    for at in range(layers):
        matrix = np.eye(8) + random.normal(0, 0.02, (8, 8))
        if at == bad:
            # Channel 0 becomes a thousand times larger: the rest falls below one step.
            matrix[0] *= 1000
        if at == bad + 1:
            matrix[:, 0] /= 1000
        weights[f"w{at}"] = matrix[:, :, None, None].astype(np.float32)
        weights[f"b{at}"] = np.zeros(8, np.float32)
        out = "y" if at == layers - 1 else f"t{at}"
        nodes.append(onnx.helper.make_node("Conv", [name, f"w{at}", f"b{at}"], [out], f"layer{at}"))
        name = out
    shape = [1, 8, 6, 6]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "chain",
        [onnx.helper.make_tensor_value_info("x", kind, shape)],
        [onnx.helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


def inputs(count: int = 12) -> ArrayCalibration:
    random = np.random.default_rng(1)
    return ArrayCalibration(
        {"x": random.uniform(0.5, 1.5, (count, 8, 6, 6)).astype(np.float32)}, {"x": 1}
    )


@pytest.mark.parametrize(
    "end",
    [
        "y = Identity (s)",
        "y = Unsqueeze (s, at)",  # [1, classes, 1]
        "y = ArgMax <axis = 1, keepdims = 0> (s)",
    ],
)
def test_classes_of_arrays_are_compared_whatever_the_graph_ends_in(
    end: str, tmp_path: Path
) -> None:
    def net(turn: Sequence[float]) -> onnx.ModelProto:
        form = {"A": "int64[1]", "U": "float[1, 3, 1]", "I": "float[1, 3]"}[end[4]]
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]>'
            f"net (float[1, 3] x) => ({form} y) <int64[1] at = {{2}}> {{ s = Mul (x, turn) {end} }}"
        )
        model.graph.initializer.append(numpy_helper.from_array(np.array(turn, np.float32), "turn"))
        return model

    def write(model: onnx.ModelProto, name: str) -> Path:
        onnx.save(model, str(tmp_path / name))
        return tmp_path / name

    data = ArrayCalibration({"x": np.array([[1, 2, 3], [3, 2, 1]], np.float32)}, {"x": 1})
    judge = NumberJudge(net([1, 1, 1]), data, write, classes=True)
    assert judge.judge(net([2, 2, 2])).value == 1
    # The first sample's best class becomes the first; the second's was that already.
    assert judge.judge(net([9, 1, 1])).value == 0.5


def narrowed(model: onnx.ModelProto) -> Quantizer:
    return quantizer(clean(model), inputs(), target="x86-vnni", method="minmax", keep_last=False)


class ByNodes:
    """A judge that knows which layers cost what, so that the search alone is tried."""

    metric = "figure on nothing"

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs = costs
        self.seen: list[frozenset[str]] = []

    @property
    def before(self) -> Verdict:
        return Verdict(1.0)

    def judge(self, model: onnx.ModelProto) -> Verdict:
        makers = {name: node.op_type for node in model.graph.node for name in node.output}
        narrow = frozenset(
            node.name
            for node in model.graph.node
            if node.op_type == "Conv" and makers.get(node.input[1]) == "DequantizeLinear"
        )
        self.seen.append(narrow)
        return Verdict(1.0 - sum(self.costs.get(name, 0.0) for name in narrow))

    def loss(self, verdict: Verdict) -> float:
        return 1.0 - verdict.value


def searched(model: onnx.ModelProto, judge: Judge, budget: float) -> Any:
    job = narrowed(model)
    return Search([job], judge, budget, inputs(), lambda step, done, total: None).run()


def test_losses_are_shares_of_what_there_was() -> None:
    assert loss(0.80, 0.792) == pytest.approx(0.01)
    assert loss(0.5, 0.6) == pytest.approx(-0.2)
    assert loss(0.05, 0.06, "cer") == pytest.approx(0.01 / 0.95)
    assert loss(2.0, 2.02, "mae") == pytest.approx(0.01)
    assert loss(2.0, 1.0, "RMSE") == -0.5
    assert (loss(0.0, 0.0, "mae"), loss(0.0, 0.1, "mae")) == (0.0, float("inf"))
    assert np.isnan(loss(float("nan"), 0.1, "mae")) and np.isnan(loss(0.1, float("nan"), "mae"))
    assert np.isnan(loss(0.0, 0.0))
    assert np.isnan(loss(float("nan"), 0.5))


def scored(value: float) -> Evaluation:
    return Evaluation("detect", 9, {"map50_95": value}, "data")


def test_a_drop_is_judged_relative_to_what_there_was() -> None:
    check_drop(scored(0.30), scored(0.2972), 0.01)
    with pytest.raises(CheckFailed, match=r"0\.3000 to 0\.2960, by 1\.33% of what it was; 1\.00%"):
        check_drop(scored(0.30), scored(0.296), 0.01)


def test_a_model_that_sees_nothing_is_never_good() -> None:
    with pytest.raises(CheckFailed, match=r"source itself reaches map50_95 0\.0000.*validate"):
        check_metric(scored(0.0))
    with pytest.raises(CheckFailed, match="does not exist"):
        check_metric(scored(float("nan")))
    with pytest.raises(CheckFailed, match="blind"):
        check_not_blind(scored(0.4), scored(0.0))
    check_not_blind(scored(0.4), scored(0.001))


def test_groups_hold_a_layer_and_what_follows_it(detector: onnx.ModelProto) -> None:
    groups = groups_of(clean(detector))
    assert [len(group.nodes) for group in groups] == [2, 2, 3, 4]
    assert [group.before for group in groups] == [(), (0,), (1,), (1, 2)]
    # 8x8 places, 6 channels out of 3 channels of 4x4 pixels.
    assert groups[0].macs == 64 * 6 * 3 * 16


def test_the_layer_that_mixes_is_blamed() -> None:
    job = narrowed(chain(bad=2))
    groups = groups_of(job.model)
    ranking = blame(job, job.build(), groups, inputs())
    # What layer 2 gives out is what one scale cannot hold; layer 3 takes it in.
    assert {one.group.layer for one in ranking[:2]} == {"layer2", "layer3"}
    worst = {one.group.layer: one for one in ranking}
    assert worst["layer0"].sqnr_db is not None
    assert worst["layer0"].sqnr_db > 30
    assert all(one.gained is not None for one in ranking)


def test_the_search_keeps_no_more_than_it_must() -> None:
    costs = {"layer1": 0.2, "layer4": 0.1}
    judge = ByNodes(costs)
    found = searched(chain(bad=9), judge, 0.01)
    kept = {reason.layer for reason in found.kept}
    assert costs.keys() <= kept
    assert len(kept) <= 4
    assert found.attempts[0].good is False
    assert found.attempts[0].loss == pytest.approx(0.3)
    assert found.loss <= 0.01
    assert len(judge.seen) == len(set(judge.seen)) <= MAX_ATTEMPTS


def test_nothing_is_kept_where_nothing_is_lost() -> None:
    found = searched(chain(bad=9), ByNodes({}), 0.0)
    assert found.kept == ()
    assert found.attempts == (Attempt(0, 1.0, 1.0, 0.0, True),)


def test_a_search_in_vain_names_its_best_attempt() -> None:
    everywhere = {f"layer{at}": 0.05 for at in range(6)}
    with pytest.raises(
        CheckFailed,
        match=r"at best fell from 1\.0000 to 0\.9500, by 5\.00%.*kept 5 of 6 layers.*fp16",
    ):
        searched(chain(bad=9), ByNodes(everywhere), 0.01)


def test_another_way_of_calibrating_comes_before_float_layers() -> None:
    job = narrowed(chain(bad=2))

    class Second(ByNodes):
        def judge(self, model: onnx.ModelProto) -> Verdict:
            verdict = super().judge(model)
            return Verdict(0.8) if len(self.seen) == 1 else verdict

    judge = Second({})
    found = Search(
        [job, job.__class__(job.model, job.observed, job.target, "entropy", ())],
        judge,
        0.01,
        inputs(),
        lambda step, done, total: None,
    ).run()
    assert (len(found.attempts), found.kept) == (2, ())


def test_a_real_mixture_is_kept_in_float_and_the_report_says_why(tmp_path: Path) -> None:
    onnx.save(chain(bad=2), str(tmp_path / "chain.onnx"))
    np.savez(tmp_path / "c.npz", inputs(40).arrays["x"])

    def made(**more: Any) -> Any:
        return export(
            tmp_path / "chain.onnx",
            tmp_path / "out.onnx",
            precision="int8",
            target="x86-any",
            calibration=tmp_path / "c.npz",
            task="tensor",
            **more,
        )

    plain = made().parity["outputs"]["y"]["mean"]
    done = made(max_drop=0.03)
    layers = [reason["layer"] for reason in done.float_reasons if reason["why"] == "accuracy"]
    assert layers
    assert {"layer2", "layer3"} & set(layers)
    assert len(layers) < 5
    assert done.parity["outputs"]["y"]["mean"] < 0.5 * plain
    document = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    gate = document["gate"]
    assert gate["loss"] <= gate["allowed"] == 0.03
    assert "relative error" in gate["metric"]
    assert [attempt["good"] for attempt in gate["attempts"]].count(True) >= 1
    reason = next(one for one in document["float_reasons"] if one["why"] == "accuracy")
    assert set(reason) == {"layer", "nodes", "why", "sqnr_db", "gained"}
    assert set(reason["nodes"]) <= set(document["kept_float"])
    assert {one["role"] for one in document["variants"]} == {"source", "output"}
    assert all(one["p50_ns"] > 0 for one in document["variants"])
    assert document["speed"]["threads"] >= 1
    # The same command gives the same bytes, whatever the box was doing.
    assert made(max_drop=0.03).sha256 == done.sha256


def test_agreement_is_the_metric_where_there_are_no_labels(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    done = export(
        source, tmp_path / "out.onnx", precision="int8", calibration=pictures, max_drop=0.0
    )
    assert done.gate["metric"] == "agreement with the source on 8 calibration pictures"
    assert (done.gate["before"], done.gate["after"], done.gate["loss"]) == (1.0, 1.0, 0.0)
    assert done.metric["after"]["box_iou"] > 0.99


def test_pictures_on_which_the_source_sees_nothing_prove_nothing(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "dark").mkdir()
    for at in range(4):
        black = np.full((32, 32, 3), at, np.uint8)
        assert cv2.imwrite(str(tmp_path / "dark" / f"{at}.png"), black)
    with pytest.raises(CheckFailed, match=r"source sees nothing on the 4.*--validation"):
        export(
            source,
            tmp_path / "out.onnx",
            precision="int8",
            calibration=tmp_path / "dark",
            max_drop=0.01,
        )
    assert not (tmp_path / "out.onnx").exists()


def test_a_budget_with_nothing_to_measure_on_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--validation DATA.*--calibration"):
        export(source, tmp_path / "out.onnx", precision="fp16", max_drop=0.01)


def detections(*rows: Sequence[float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_boxes_and_scores_are_judged_apart() -> None:
    wanted = [detections([0, 0, 100, 100, 0.9, 0], [200, 200, 300, 300, 0.8, 1])]
    moved = [detections([25, 0, 125, 100, 0.9, 0], [225, 200, 325, 300, 0.8, 1])]
    found = compare(wanted, moved)
    assert found["agreement"] == 1.0
    assert found["box_iou"] == pytest.approx(0.6, abs=0.01)
    assert found["score_gap"] == pytest.approx(0, abs=1e-6)
    assert ["boxes moved" in note for note in apart_notes(found)] == [True]
    faint = [detections([0, 0, 100, 100, 0.5, 0], [200, 200, 300, 300, 0.4, 1])]
    found = compare(wanted, faint)
    assert found["box_iou"] == pytest.approx(1.0)
    assert found["score_gap"] == pytest.approx(0.4)
    assert ["scores moved" in note for note in apart_notes(found)] == [True]
    assert apart_notes(compare(wanted, wanted)) == ()


def test_agreement_counts_what_is_too_much_as_well() -> None:
    one = detections([0, 0, 100, 100, 0.9, 0])
    two = detections([0, 0, 100, 100, 0.9, 0], [200, 200, 300, 300, 0.8, 1])
    assert compare([one], [two])["agreement"] == pytest.approx(2 / 3)
    nothing = compare([two], [detections()])
    assert nothing["agreement"] == 0.0
    assert "finds nothing on 1 pictures, where the source finds 2" in str(blind(nothing))
    scores = np.array([0.7, 0.3], np.float32)
    first, second = Classes(np.array([3, 1]), scores), Classes(np.array([1, 3]), scores)
    assert compare([first, first], [first, second])["agreement"] == 0.5


def test_a_variant_that_is_not_faster_comes_with_a_recommendation() -> None:
    base, same, fast = [100] * 20, [104] * 20, [60] * 20
    slow = Speed({"source": 100, "output": 104}, {"output": ratio(base, same)}, 2, 20)
    (note,) = slow.notes("int8")
    assert "int8 is not faster" in note
    assert "2 thread(s)" in note
    assert "use the FP32 file here" in note
    other = Speed(
        {"source": 100, "output": 104, "openvino": 60},
        {"output": ratio(base, same), "openvino": ratio(base, fast)},
        2,
        20,
    )
    assert "--provider openvino" in other.notes("int8")[0]
    quick = Speed({"source": 100, "output": 60}, {"output": ratio(base, fast)}, 2, 20)
    assert quick.notes("int8") == ()


def test_samples_that_cannot_carry_the_budget_are_told() -> None:
    (told,) = too_few(4, 0.01)
    assert "4 samples" in told and "25.00%" in told and "at least 100" in told
    assert too_few(0, 0.01) == ()  # a user's metric counts by itself
    assert too_few(100, 0.01) == () and too_few(4, 0.25) == () and too_few(4, 0.0) == ()


def test_a_small_fall_is_told_with_the_digits_that_show_it() -> None:
    assert change_text(0.9, 0.89, 0.0111) == "fell from 0.9000 to 0.8900, by 1.11% of what it was"
    said = change_text(0.99912, 0.999118, 2e-6)
    assert said == "fell from 0.999120 to 0.999118, by 0.0002% of what it was"


def test_a_users_metric_may_be_the_budget_of_a_gate(
    source: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_metric.py").write_text(
        "def metric(model, progress):\n"
        "    return {'mine': 0.5, 'task': float(len(model.spec.task))}\n"
    )
    monkeypatch.chdir(tmp_path)
    validation, output = "their_metric:metric", tmp_path / "out.onnx"
    plain = export(source, output, validation=validation)
    assert plain.metric["after"] == {"mine": 0.5, "task": 6.0}
    gated = export(
        source,
        output,
        precision="int8",
        calibration=pictures,
        validation=validation,
        max_drop=0.01,
    )
    assert gated.gate["metric"] == "mine on their_metric:metric" and gated.gate["loss"] == 0
    with pytest.raises(UsageError, match="a metric without samples"):
        sweep(source, output, [(32, 32), (64, 64)], ExportOptions(validation=validation))
