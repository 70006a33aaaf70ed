"""scikit-learn as a source: what is common converts faithfully, the rest is refused clearly."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn import datasets
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

import edgeinfer
from edgeinfer.errors import CheckFailed, ModelFileError
from edgeinfer.golden import golden_path, read_golden, replay
from edgeinfer_export import export
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import ArrayCalibration, open_calibration
from edgeinfer_export.sources import Request, open_source_model
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.verify import check_fp32, parity, parity_notes

Save = Callable[[Any, str], Path]

LOAD = {
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
CLASSIFIERS = {
    "forest": (RandomForestClassifier(20, random_state=0), "digits", "softmax"),
    "logistic": (LogisticRegression(max_iter=5000), "iris", "softmax"),
    "svc": (SVC(), "wine", "logits"),
    "svc of two": (SVC(), "cancer", "logits"),
    "linear svc": (make_pipeline(StandardScaler(), LinearSVC()), "wine", "logits"),
    "boosting": (GradientBoostingClassifier(n_estimators=20, random_state=0), "wine", "softmax"),
    "hist boosting": (HistGradientBoostingClassifier(max_iter=20), "wine", "softmax"),
    "mlp": (
        make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=2000, random_state=0)),
        "wine",
        "softmax",
    ),
    "vote": (
        VotingClassifier(
            [("a", LogisticRegression(max_iter=5000)), ("b", GaussianNB())], voting="soft"
        ),
        "iris",
        "softmax",
    ),
    "neighbours": (make_pipeline(StandardScaler(), KNeighborsClassifier()), "wine", "softmax"),
    "mask of columns": (
        make_pipeline(
            ColumnTransformer(
                [("a", StandardScaler(), np.arange(13) < 9), ("b", StandardScaler(), [-1, -2])]
            ),
            LogisticRegression(max_iter=5000),
        ),
        "wine",
        "softmax",
    ),
    "columns": (
        make_pipeline(
            ColumnTransformer(
                [("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), slice(2, 5))],
                remainder="passthrough",
            ),
            LogisticRegression(max_iter=5000),
        ),
        "wine",
        "softmax",
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_as_in_scikit_learn(name: str, save: Save, tmp_path: Path) -> None:
    estimator, data, head = CLASSIFIERS[name]
    rows, truth = LOAD[data](return_X_y=True)
    names = np.array([f"class {index}" for index in range(int(truth.max()) + 1)])
    estimator.fit(rows, names[truth])
    np.savez(tmp_path / "rows.npz", rows[:64].astype(np.float32))
    done = export(
        save(estimator, "model.joblib"),
        tmp_path / "out.onnx",
        trust_pickle=True,
        calibration=tmp_path / "rows.npz",
    )
    assert done.parity["reference"].startswith("scikit-learn")
    assert max(item["max"] for item in done.parity["outputs"].values()) <= 1e-4
    assert (done.spec.task, done.spec.head) == ("classify", head)
    assert done.provenance["converters"].keys() == {"scikit-learn", "skl2onnx"}
    wanted = estimator.predict(rows[:40])
    with edgeinfer.load(done.output, provider="cpu") as model:
        said = [model({"input": row[None].astype(np.float32)}).to_dict() for row in rows[:40]]
        assert not replay(model, read_golden(golden_path(done.output))).failures
    assert [item["classes"][0]["label"] for item in said] == wanted.tolist()


@pytest.mark.parametrize(
    ("estimator", "outputs"),
    [
        (Ridge(), {"variable"}),
        (RandomForestRegressor(20, random_state=0), {"variable"}),
        (KMeans(4, n_init=2, random_state=0), {"label", "scores"}),
        (IsolationForest(n_estimators=20, random_state=0), {"label", "scores"}),
        (StandardScaler(), {"variable"}),
    ],
)
def test_what_is_no_classifier_gives_tensors(
    estimator: Any, outputs: set[str], save: Save, tmp_path: Path
) -> None:
    rows, values = datasets.load_diabetes(return_X_y=True)
    estimator.fit(rows * 100, values)
    done = export(save(estimator, "m.joblib.gz"), tmp_path / "out.onnx", trust_pickle=True)
    assert done.spec.task == "tensor"
    assert done.parity["outputs"].keys() == outputs
    assert max(item["max"] for item in done.parity["outputs"].values()) <= 1e-4


def test_a_skops_file_needs_no_trust(save: Save, tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(*datasets.load_iris(return_X_y=True))
    done = export(save(forest, "m.skops"), tmp_path / "out.onnx")
    assert done.spec.labels == ("0", "1", "2")


class Odd(LogisticRegression):  # type: ignore[misc]
    """A class that only this test knows."""


def test_types_that_nobody_knows_are_listed(save: Save, tmp_path: Path) -> None:
    odd = Odd(max_iter=5000).fit(*datasets.load_iris(return_X_y=True))
    with pytest.raises(ModelFileError, match=r"not known to be harmless: .*Odd.*--trust-pickle"):
        export(save(odd, "m.skops"), tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["HOSTILE"],)


def test_a_pickle_runs_nothing_unless_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE", str(tmp_path / "ran"))
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"sklearn.": Hostile()}))
    with pytest.raises(ModelFileError, match=r"pickle.*--trust-pickle.*skops"):
        export(path, tmp_path / "out.onnx")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ModelFileError, match="dict, not an estimator"):
        export(path, tmp_path / "out.onnx", trust_pickle=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (LogisticRegression(), r"not fitted"),
        ({"a": 1}, r"dict, not an estimator"),
        (
            make_pipeline(OneHotEncoder(), LogisticRegression()).fit([["a"], ["b"]], [0, 1]),
            r"OneHotEncoder takes texts in column 0 \(a, b",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused(
    estimator: Any, why: str, save: Save, tmp_path: Path
) -> None:
    path = save(estimator, "m.joblib")
    with pytest.raises(ModelFileError, match=why):
        export(path, tmp_path / "out.onnx", framework="sklearn", trust_pickle=True)


def test_scores_of_pairs_are_no_scores_of_classes(save: Save, tmp_path: Path) -> None:
    machine = SVC(decision_function_shape="ovo").fit(*datasets.load_wine(return_X_y=True))
    with pytest.raises(
        ModelFileError, match=r"each pair of classes.*decision_function_shape='ovr'"
    ):
        export(save(machine, "m.joblib"), tmp_path / "out.onnx", trust_pickle=True)


def test_missing_values_are_compared_where_the_model_takes_them(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeinfer_export.sources import sklearn_convert

    rows, values = datasets.load_diabetes(return_X_y=True)
    rows[::7, 2] = np.nan
    model = make_pipeline(SimpleImputer(), Ridge()).fit(rows, values)
    seen = []
    real = sklearn_convert._apart

    def watch(path: Path, rows: Any, reference: Any) -> float:
        seen.append(np.isnan(rows))
        return real(path, rows, reference)

    monkeypatch.setattr(sklearn_convert, "_apart", watch)
    sklearn_convert.convert(model, tmp_path / "a.onnx")
    assert seen[0][:128].any(axis=0).all() and not seen[0][128:].any()


def test_a_class_that_is_not_the_one_with_the_highest_score_is_told() -> None:
    from edgeinfer_export.sources.sklearn_convert import _undecided

    rows, truth = datasets.load_breast_cancer(return_X_y=True)
    plain = GaussianNB().fit(rows, truth)
    strict = FixedThresholdClassifier(GaussianNB(), threshold=1.0).fit(rows, truth)
    assert list(_undecided(plain, rows)) == []
    (told,) = _undecided(strict, rows)
    assert "predict() answers another class" in told


def test_a_cut_off_file_is_refused(save: Save, tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(*datasets.load_iris(return_X_y=True))
    path = save(forest, "m.joblib")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelFileError, match=r"cannot be opened.*damaged"):
        export(path, tmp_path / "out.onnx", trust_pickle=True)


def test_the_same_model_gives_the_same_bytes(save: Save, tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(*datasets.load_iris(return_X_y=True))
    path = save(forest, "m.skops")
    found = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        done = export(path, tmp_path / name / "out.onnx")
        assert done.golden is not None
        found.add((done.output.read_bytes(), done.golden.read_bytes()))
    assert len(found) == 1


def test_a_batch_may_be_settled(save: Save, tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(*datasets.load_iris(return_X_y=True))
    path = save(forest, "m.skops")
    done = export(path, tmp_path / "out.onnx", input_shapes={"input": (1, 4)})
    dims = onnx.load(str(done.output)).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 4]
    spec = {p.key: p.value for p in onnx.load(str(done.output)).metadata_props}["edgeinfer.spec"]
    assert json.loads(spec)["inputs"] == [{"name": "input", "kind": "tensor", "dtype": "float32"}]


@pytest.mark.parametrize(
    "estimator",
    [
        MultiOutputClassifier(LogisticRegression()),
        RandomForestClassifier(3),
        MLPClassifier((4,), tol=1.0),
    ],
)
def test_a_classifier_of_several_targets_is_refused(
    estimator: Any, save: Save, tmp_path: Path
) -> None:
    rows, classes = datasets.load_iris(return_X_y=True)
    estimator.fit(rows, np.stack([classes == 0, classes == 1], axis=1).astype(int))
    with pytest.raises(ModelFileError, match=f"{type(estimator).__name__} sorts by 2 targets"):
        export(save(estimator, "m.joblib"), tmp_path / "out.onnx", trust_pickle=True)


@pytest.fixture
def thresholds(save: Save, tmp_path: Path) -> tuple[Any, Path, Any]:
    """Boosted trees that divide at numbers of their data, and these data."""
    random = np.random.default_rng(0)
    rows = np.round(random.normal(size=(2000, 8)), 2)
    values = rows[:, 0] * 3 + np.sin(rows[:, 1] * 4) + (rows[:, 2] > 0.3) * 5
    trees = HistGradientBoostingRegressor(max_iter=50).fit(rows, values)
    return trees, save(trees, "trees.skops"), rows[:500]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_threshold_between_a_number_and_its_rounding_is_no_changed_model(
    dtype: Any, thresholds: tuple[Any, Path, Any], tmp_path: Path
) -> None:
    trees, path, rows = thresholds
    np.savez(tmp_path / "rows.npz", input=rows.astype(dtype))
    done = export(path, tmp_path / "out.onnx", calibration=tmp_path / "rows.npz")
    assert done.parity["outputs"]["variable"]["max"] <= 1e-4
    assert any("with the same rounding" in note for note in done.notes) == (dtype == np.float32)
    with edgeinfer.load(done.output, provider="cpu") as model:
        said = [model({"input": row[None].astype(np.float32)}) for row in rows[:100]]
    told = [one.value.outputs["variable"].item() for one in said]
    np.testing.assert_allclose(told, trees.predict(rows[:100]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_leaf_that_is_off_is_a_changed_model(
    dtype: Any, thresholds: tuple[Any, Path, Any], tmp_path: Path
) -> None:
    _, path, rows = thresholds
    source = open_source_model(Request(path=path, folder=tmp_path), "auto")
    np.savez(tmp_path / "rows.npz", input=rows.astype(dtype))
    spec = spec_of(source, ExportOptions())
    tensors = [tensor_spec(value) for value in source.model.graph.input]
    data = open_calibration(tmp_path / "rows.npz", spec, tensors)
    assert isinstance(data, ArrayCalibration) and source.reference is not None
    (node,) = source.model.graph.node
    for attribute in node.attribute:
        if attribute.name == "target_weights":
            attribute.floats[:] = [1.01 * value for value in attribute.floats]
    onnx.save(source.model, str(tmp_path / "planted.onnx"))
    found = parity(source.reference, tmp_path / "planted.onnx", data)
    assert parity_notes(found) == ()
    with pytest.raises(CheckFailed, match="differs from the source's"):
        check_fp32(found)
