"""A user's own data or metric, named `module:callable`.

A callable without parameters gives data: an iterable of `Sample`, or of pairs of what the model is
fed and the truth. A callable with parameters is a metric: it gets `(model, progress)` and returns
a mapping of metric name to number, the first of which stands for the others.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.datasets.base import (
    AnomalyTruth,
    BoxTruth,
    ClassTruth,
    DatasetError,
    MapTruth,
    MaskTruth,
    OrientedTruth,
    PoseTruth,
    Sample,
    TextTruth,
    Truth,
    ValueTruth,
)
from edgeinfer.records import dataclass

_NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
_TASKS: Mapping[type, str] = {
    BoxTruth: "detect",
    ClassTruth: "classify",
    MaskTruth: "segment",
    PoseTruth: "pose",
    OrientedTruth: "obb",
    MapTruth: "semantic",
    TextTruth: "text-recognize",
    AnomalyTruth: "anomaly",
    ValueTruth: "tensor",
}


@dataclass(frozen=True, eq=False)
class UserData:
    """What a user's callable gives; it is called anew for every pass.

    Attributes:
        name: ``module:callable``.
        task: as the first sample's truth says.
        labels: the callable's attribute `labels`, else empty.
        make: the callable.
        count: how many samples it gives.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    make: Callable[[], Iterable[Any]]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        for number, item in enumerate(_each(self.name, _called(self.name, self.make))):
            yield _sample(item, number, self.name, self.task)


@dataclass(frozen=True, eq=False)
class UserMetric:
    """A user's metric, which brings its own data.

    Attributes:
        name: ``module:callable``.
        measure: gets `(model, progress)`, gives a mapping of metric name to number.
    """

    name: str
    measure: Callable[..., Mapping[str, float]]
    task: str = "any"
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Sample]:
        return iter(())


def is_callable_name(text: str) -> bool:
    """Whether a text is `module:callable` and no file of that name exists."""
    return bool(_NAME.match(text)) and not Path(text).exists()


def open_callable(text: str, task: str | None) -> UserData | UserMetric:
    """Import what `module:callable` names; modules of the working folder are found, too.

    Args:
        task: of the model, for truths that could be of several (0 and 1 may be classes or
            anomalies).

    Raises:
        DatasetError: if it cannot be imported, is not callable, or gives no samples.
    """
    found = _imported(text)
    if _wants_model(found):
        return UserMetric(text, found)
    count, first = 0, None
    items = _called(text, found)
    if hasattr(items, "__len__"):
        count = len(items)
        first = next(_each(text, items), None)
    else:
        for item in _each(text, items):
            first = item if count == 0 else first
            count += 1
    if first is None:
        raise DatasetError(f"{text} gave no samples.")
    truth = _sample(first, 0, text, task or "").truth
    labels = tuple(str(label) for label in getattr(found, "labels", ()))
    return UserData(text, _TASKS[type(truth)], labels, found, count)


def _imported(text: str) -> Callable[..., Any]:
    module_name, _, name = text.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a user's module may raise anything
        raise DatasetError(
            f"{text} cannot be imported: {type(error).__name__}: {error}. It is "
            f"'module:callable'; the module must lie in {folder} or be installed."
        ) from error
    finally:
        sys.path.remove(folder)
    if not callable(found):
        raise DatasetError(f"{text} is a {type(found).__name__}, not a callable.")
    called: Callable[..., Any] = found
    return called


def _wants_model(found: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(item.kind in kinds and item.default is item.empty for item in parameters)


def _called(name: str, make: Callable[[], Any]) -> Any:
    try:
        items = make()
        iter(items)
    except Exception as error:  # a user's code may raise anything
        raise DatasetError(f"{name} failed: {type(error).__name__}: {error}.") from error
    return items


def _each(name: str, items: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from items
    except Exception as error:  # the same holds for each sample
        raise DatasetError(f"{name} failed: {type(error).__name__}: {error}.") from error


def _sample(item: Any, number: int, name: str, task: str) -> Sample:
    if isinstance(item, Sample):
        return item
    if not isinstance(item, tuple) or len(item) != 2:
        raise DatasetError(
            f"{name} gave a {type(item).__name__} as sample {number}: give edgeinfer.datasets."
            f"Sample, or a pair of what the model is fed and the truth."
        )
    fed, truth = item
    if isinstance(fed, np.ndarray) and fed.dtype != np.uint8:
        fed = {"": fed}
    return Sample(f"sample {number}", fed, _truth(truth, number, name, task))


def _truth(value: Any, number: int, name: str, task: str) -> Truth:
    if type(value) in _TASKS:
        found: Truth = value
        return found
    if isinstance(value, str):
        return TextTruth(value)
    if isinstance(value, (bool, np.bool_)) or (task == "anomaly" and value in (0, 1)):
        return AnomalyTruth(bool(value))
    if task != "tensor" and isinstance(value, (int, np.integer)):
        return ClassTruth(int(value))
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iu":
        return MapTruth(value)
    try:
        return ValueTruth(np.atleast_1d(np.asarray(value, np.float64)))
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{name} gave the truth {str(value)[:60]!r} for sample {number}: give a class number, "
            f"a text, a bool, numbers, or one of edgeinfer.datasets' truths."
        ) from error
