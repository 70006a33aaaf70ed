"""An estimator or pipeline becomes an ONNX graph of tensors, held against itself at once."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.frames import Array
from edgeinfer.spec import SCHEMA
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources.outputs import tensors_out
from edgeinfer_export.sources.sklearn_ranges import rows_in_range, with_gaps
from edgeinfer_export.steps.verify import FP32

INPUT = "input"
# Read by ONNX Runtime 1.23 and every later one.
_OPSETS = {"": 17, "ai.onnx.ml": 3}
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Converted:
    """A graph that was written, and what it was made from.

    Attributes:
        spec: JSON of what it means.
        reference: rows to outputs by name, by scikit-learn.
        notes: for people.
    """

    spec: Mapping[str, Any]
    reference: Callable[[Array], dict[str, Array]]
    notes: tuple[str, ...] = field(default=())


def convert(estimator: Any, path: Path) -> Converted:
    """Convert a fitted estimator; in float64 where float32 would answer differently.

    Raises:
        ModelFileError: if it is no fitted estimator, takes texts, sorts by several targets at
            once, or holds a step that skl2onnx does not know.
    """
    _check_numbers(estimator)
    width = _width(estimator)
    plain, notes = _by_position(estimator)
    rows = rows_in_range(estimator, width, _ROWS)
    _check_one_target(estimator, rows)
    for gap in _gaps(estimator):
        rows = with_gaps(rows, gap, lambda some: _runs(estimator, some))
    worst: dict[str, float] = {}
    failed: ModelFileError | None = None
    for dtype in ("float32", "float64"):
        for options in _options(estimator):
            try:
                model = _graph(plain, width, dtype, options)
            except ModelFileError as error:
                failed = error  # the last one: its options are the plainest
                continue
            reference = _reference(estimator, model, dtype)
            path.write_bytes(model.SerializeToString(deterministic=True))
            apart = _apart(path, rows.astype(dtype), reference)
            worst[dtype] = min(apart, worst.get(dtype, apart))
            if apart <= FP32.max:
                spec = _spec(estimator, model, dtype)
                notes += (*_notes(estimator, dtype, worst), *_undecided(estimator, rows))
                return Converted(spec, reference, notes)
    if failed is not None and not worst:
        raise failed
    raise ModelFileError(
        f"the converted {_kind(estimator)} differs from scikit-learn's by "
        f"{min(worst.values()):.2g} of its range on {_ROWS} random rows, also in float64: "
        f"skl2onnx does not convert it faithfully."
    )


def _options(estimator: Any) -> tuple[dict[str, bool], ...]:
    """What skl2onnx is asked for, the likeliest first.

    Without zipmap scores are a tensor, no list of dictionaries. Of a machine that gives decision
    values only, the raw ones are wanted: else skl2onnx turns the sign of two classes around.
    """
    if not hasattr(estimator, "classes_"):
        return ({},)
    if has_probabilities(estimator):
        return ({"zipmap": False}, {})
    return ({"zipmap": False, "raw_scores": True}, {"zipmap": False}, {"raw_scores": True}, {})


def _kind(estimator: Any) -> str:
    return type(estimator).__name__


def _width(estimator: Any) -> int:
    if not callable(getattr(estimator, "fit", None)):
        raise ModelFileError(
            f"it holds a {_kind(estimator)}, not an estimator or pipeline of scikit-learn."
        )
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, (int, np.integer)):
        raise ModelFileError(
            f"the {_kind(estimator)} is not fitted, or takes no table of numbers (it has no "
            f"n_features_in_): fit it before saving it."
        )
    return int(width)


def parts_of(estimator: Any) -> Iterator[Any]:
    """An estimator and every step inside it."""
    yield estimator
    steps = [step for _, step in getattr(estimator, "steps", ())]
    steps += [step for _, step, *_ in getattr(estimator, "transformers_", ())]
    steps += [step for _, step in getattr(estimator, "transformer_list", ())]
    steps += members_of(estimator)
    for step in steps:
        if hasattr(step, "fit"):
            yield from parts_of(step)


def members_of(ensemble: Any) -> list[Any]:
    """The fitted members of an ensemble, which holds them in a list or in an array."""
    members = getattr(ensemble, "estimators_", ())
    return list(members.ravel()) if isinstance(members, np.ndarray) else list(members)


def _check_numbers(estimator: Any) -> None:
    """Refuse what takes texts.

    Raises:
        ModelFileError: naming the step and the texts.
    """
    for part in parts_of(estimator):
        if hasattr(part, "vocabulary_") and hasattr(part, "analyzer"):
            raise ModelFileError(f"its step {_kind(part)} takes texts; the graph takes numbers.")
        for column, known in enumerate(getattr(part, "categories_", ())):
            if np.asarray(known).dtype.kind not in "fiub":
                raise ModelFileError(
                    f"its step {_kind(part)} takes texts in column {column} "
                    f"({', '.join(map(str, known[:3]))}, ...); the graph takes numbers. Replace "
                    f"texts by numbers before the model, and fit it on those."
                )


def _check_one_target(estimator: Any, rows: Array) -> None:
    """Refuse classifiers that give several answers a row.

    Raises:
        ModelFileError: saying what to export in its place.
    """
    if not hasattr(estimator, "classes_"):
        return
    said = np.asarray(estimator.predict(rows[:2].astype(np.float64)))
    if said.ndim > 1:
        raise ModelFileError(
            f"the {_kind(estimator)} sorts by {said.shape[1]} targets at once, and a model here "
            f"has one list of classes: save and export a classifier for each target by itself."
        )


def _gaps(estimator: Any) -> set[float]:
    """What stands for a missing value in its imputers, where that is a number or NaN."""
    found = (getattr(part, "missing_values", None) for part in parts_of(estimator))
    gaps = {float(gap) for gap in found if isinstance(gap, (int, float, np.number))}
    numbers = {gap for gap in gaps if not math.isnan(gap)}
    return numbers if numbers == gaps else numbers | {math.nan}


def _runs(estimator: Any, rows: Array) -> bool:
    """Whether it takes these rows; what is no number is refused by most."""
    try:
        _values(estimator, rows.astype(np.float64), 1)
    except Exception:  # whatever it raises
        return False
    return True


def _undecided(estimator: Any, rows: Array) -> Iterator[str]:
    """What to tell where the highest score is not always what `predict` answers."""
    if not hasattr(estimator, "classes_"):
        return
    table = rows.astype(np.float64)
    best = np.asarray(estimator.classes_)[_scores(estimator, table).argmax(axis=1)]
    share = float(np.mean(best != np.asarray(estimator.predict(table))))
    if share:
        yield (
            f"on {share:.0%} of {len(rows)} random rows scikit-learn's predict() answers another "
            f"class than the one with the highest score, which is what the file gives: its "
            f"{_kind(estimator)} decides by something else (a threshold, or votes)"
        )


def _by_position(estimator: Any) -> tuple[Any, tuple[str, ...]]:
    """A copy whose columns are chosen by number, for a graph that takes one table."""
    names = list(getattr(estimator, "feature_names_in_", ()))
    changed = copy.deepcopy(estimator)
    for part in parts_of(changed):
        if getattr(part, "flatten_transform", False):
            part.flatten_transform = False  # of no account where it is not asked to transform
        chosen = getattr(part, "transformers_", None)
        if chosen is None:
            continue
        known = list(getattr(part, "feature_names_in_", names))
        part.transformers_ = [
            (name, step, _numbers(columns, known, part.n_features_in_))
            for name, step, columns in chosen
        ]
    if not names:
        return changed, ()
    order = ", ".join(map(str, names[:12])) + (", ..." if len(names) > 12 else "")
    return changed, (f"the input's columns are, in this order: {order}",)


def _numbers(columns: Any, known: list[str], width: int) -> Any:
    """Columns by number from the left, where they are names, a mask, or count from the right."""
    if isinstance(columns, str):
        return [known.index(columns)]
    if isinstance(columns, (list, np.ndarray)) and np.asarray(columns).dtype.kind == "b":
        return [int(place) for place in np.flatnonzero(columns)]
    if isinstance(columns, (list, np.ndarray)):
        return [known.index(c) if isinstance(c, str) else int(c) % width for c in columns]
    return columns


def _last(estimator: Any) -> Any:
    """The step of a pipeline that answers."""
    while getattr(estimator, "steps", None):
        estimator = estimator.steps[-1][1]
    return estimator


def _graph(estimator: Any, width: int, dtype: str, options: Mapping[str, bool]) -> Any:
    """The graph, without the labels that nobody reads beside the scores.

    Raises:
        ModelFileError: if a step is not known to skl2onnx.
    """
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    last = _last(estimator)
    kind = FloatTensorType if dtype == "float32" else DoubleTensorType
    try:
        model = skl2onnx.convert_sklearn(
            estimator,
            name="model",
            initial_types=[(INPUT, kind([None, width]))],
            options={id(last): dict(options)} if options else None,
            target_opset=_OPSETS,
        )
    except Exception as error:  # its own errors have no common root
        steps = ", ".join(dict.fromkeys(_kind(part) for part in parts_of(estimator)))
        first = (str(error).strip().splitlines() or ["no message"])[0][:300]
        raise ModelFileError(
            f"skl2onnx cannot convert it ({type(error).__name__}: {first}). Its steps: {steps}; "
            f"what is supported stands at https://onnx.ai/sklearn-onnx/supported.html."
        ) from error
    model, _, _ = tensors_out("it", model)
    if hasattr(estimator, "classes_"):
        _drop(model, [v.name for v in model.graph.output if "label" in v.name])
    for item in (*model.graph.input, *model.graph.output):
        dims = item.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_param = "batch"
    return model


def _drop(model: Any, names: list[str]) -> None:
    kept = [value for value in model.graph.output if value.name not in names]
    if kept:
        del model.graph.output[:]
        model.graph.output.extend(kept)


def _reference(estimator: Any, model: Any, dtype: str) -> Callable[[Array], dict[str, Array]]:
    """What the graph's outputs are called in scikit-learn, output by output."""
    names = [value.name for value in model.graph.output]
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.output]
    columns = getattr(estimator, "feature_names_in_", None)

    def run(rows: Array) -> dict[str, Array]:
        # As it was trained; what computes in float32 inside (trees) narrows it by itself.
        table: Any = rows.astype(np.float64)
        if columns is not None:
            # Without pandas scikit-learn takes the columns in their order, and warns.
            with contextlib.suppress(ImportError):
                import pandas

                table = pandas.DataFrame(table, columns=columns)
        values = _values(estimator, table, len(names))
        made = [_shaped(value, dtype, rank) for value, rank in zip(values, ranks, strict=True)]
        return dict(zip(names, made, strict=True))

    return run


def _values(estimator: Any, table: Any, count: int) -> list[Any]:
    if hasattr(estimator, "classes_"):
        return [_scores(estimator, table)]
    if hasattr(estimator, "cluster_centers_") and hasattr(estimator, "predict") and count == 2:
        return [estimator.predict(table), estimator.transform(table)]
    if hasattr(estimator, "score_samples") and count == 2:
        scores = getattr(estimator, "decision_function", None) or estimator.score_samples
        return [estimator.predict(table), scores(table)]
    return [(getattr(estimator, "predict", None) or estimator.transform)(table)]


def _scores(estimator: Any, table: Any) -> Array:
    """One column per class: probabilities, or decision values where there are none."""
    if has_probabilities(estimator):
        return np.asarray(estimator.predict_proba(table))
    if not hasattr(estimator, "decision_function"):
        raise ModelFileError(f"the {_kind(estimator)} gives neither probabilities nor scores.")
    values = np.asarray(estimator.decision_function(table))
    pairs = getattr(_last(estimator), "decision_function_shape", "ovr") == "ovo"
    if pairs and len(estimator.classes_) > 2:
        raise ModelFileError(
            f"the {_kind(estimator)} gives a score for each pair of classes, and a model here has "
            f"one for each class. Set decision_function_shape='ovr' on the fitted SVC, which takes "
            f"no training, and save it again."
        )
    return np.stack((-values, values), axis=1) if values.ndim == 1 else values


def has_probabilities(estimator: Any) -> bool:
    """Whether a classifier says how sure it is; some have the method only by their options."""
    return callable(getattr(estimator, "predict_proba", None))


def _shaped(value: Any, dtype: str, rank: int) -> Array:
    """As the graph gives it: in columns where it has them, and of its type."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(dtype)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64)
    return array.reshape(-1, 1) if array.ndim == 1 and rank == 2 else array


def _apart(path: Path, rows: Array, reference: Callable[[Array], dict[str, Array]]) -> float:
    """The largest difference of any output as a share of its range."""
    try:
        got = Session(path).run({INPUT: rows})
    except EdgeInferError:
        return float("inf")
    worst = 0.0
    for name, wanted in reference(rows).items():
        if wanted.shape != got[name].shape:
            return float("inf")
        if wanted.dtype.kind not in "fiub":
            worst = max(worst, float((wanted != got[name]).any()))
            continue
        off = np.abs(wanted.astype(np.float64) - got[name]).max()
        worst = max(worst, float(off / (np.ptp(wanted) or 1.0)))
    return worst


def _spec(estimator: Any, model: Any, dtype: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"schema": SCHEMA, "task": "tensor", "head": "tensor"}
    spec["inputs"] = [{"name": INPUT, "kind": "tensor", "dtype": dtype}]
    classes = getattr(estimator, "classes_", None)
    if classes is not None and len(model.graph.output) == 1 and len(classes) > 1:
        head = "softmax" if has_probabilities(estimator) else "logits"
        spec |= {"task": "classify", "head": head, "labels": [str(name) for name in classes]}
    return spec


def _notes(estimator: Any, dtype: str, worst: Mapping[str, float]) -> Iterator[str]:
    if dtype == "float64":
        yield (
            f"computed in float64: in float32 the {_kind(estimator)} would differ from "
            f"scikit-learn's by {worst['float32']:.2g} of its range"
        )
    if hasattr(estimator, "classes_") and not has_probabilities(estimator):
        yield (
            "the model gives decision values, no probabilities: which class is best is right, "
            "how sure it is is not"
        )
