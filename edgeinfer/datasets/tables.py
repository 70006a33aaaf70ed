"""Sensor and tabular data: CSV whose first column is the answer, `.npz` of `x` and `y`.

The answers are numbers, or names of classes, which are matched with the model's labels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edgeinfer.datasets.base import (
    AnomalyTruth,
    ClassTruth,
    DatasetError,
    Sample,
    Truth,
    ValueTruth,
)
from edgeinfer.frames import Array, Arrays
from edgeinfer.npz import read_npz
from edgeinfer.records import dataclass

ANSWERS = ("y", "labels", "label", "targets", "target")
# Kinds of numpy types: floats, whole numbers with and without a sign, truth values.
_NUMBERS = "fiub"


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of arrays with an answer each.

    Attributes:
        name: the file.
        task: ``classify``, ``anomaly``, or ``tensor`` (numbers are to be estimated).
        columns: input name (empty: the only input) to `(N, ...)`.
        answers: `(N,)` or `(N, V)`.
        labels: the classes in the order of the alphabet, where the answers are their names; else
            empty.
    """

    name: str
    task: str
    columns: Arrays
    answers: Array
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[Sample]:
        for number in range(len(self)):
            row: dict[str, Array] = {name: data[number] for name, data in self.columns.items()}
            fed: Array | Arrays = row
            if set(row) == {""} and _is_picture(row[""]):
                fed = row[""]
            yield Sample(f"row {number}", fed, self._truth(self.answers[number]))

    def _truth(self, answer: Array) -> Truth:
        if self.task == "classify":
            return ClassTruth(int(answer))
        if self.task == "anomaly":
            return AnomalyTruth(bool(answer))
        return ValueTruth(np.atleast_1d(np.asarray(answer, np.float64)))


def _is_picture(array: Array) -> bool:
    return array.dtype == np.uint8 and (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    )


def open_csv(path: Path, task: str | None) -> Table:
    """Open a CSV: the answer (a number, or the name of a class), then the numbers that a model is
    fed; a header row is skipped.

    Args:
        task: what the answers are for; None for ``classify`` where they are names or whole numbers
            from 0, else ``tensor``.

    Raises:
        DatasetError: naming the file and the line that does not fit.
    """
    table = [[field.strip() for field in fields] for fields in read_csv(path)]
    start = 1 if table and _is_header(table) else 0
    rows: list[list[float]] = []
    for number, (_, *fields) in enumerate(table[start:], start=start + 1):
        row = [_number(field, path, number) for field in fields]
        if rows and len(row) != len(rows[0]):
            raise DatasetError(
                f"{path}, row {number} has {len(row) + 1} columns, the first row "
                f"{len(rows[0]) + 1}."
            )
        rows.append(row)
    if not rows or not rows[0]:
        raise DatasetError(
            f"{path} holds no table: each row is the answer, then the numbers that a model is fed."
        )
    inputs = np.array(rows, np.float64).astype(np.float32)
    return _checked(path, task, {"": inputs}, _csv_answers(table[start:], path, task, start))


def _is_header(table: list[list[str]]) -> bool:
    """Whether the first row names columns: it starts with a text, and so does no other row, or
    more of it is text than the answer."""
    first, *others = table
    if _is_number(first[0]):
        return False
    named = not all(map(_is_number, first[1:]))
    return named or (bool(others) and all(_is_number(fields[0]) for fields in others))


def _csv_answers(table: list[list[str]], path: Path, task: str | None, start: int) -> Array:
    """The first column: numbers, or names of classes."""
    told = [fields[0] for fields in table]
    numbers = [_is_number(text) for text in told]
    if not any(numbers) or (task == "classify" and not all(numbers)):
        return np.array(told)
    return np.array([_number(text, path, row) for row, text in enumerate(told, start=start + 1)])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, path: Path, row: int) -> float:
    if not _is_number(text):
        raise DatasetError(
            f"{path}, row {row} holds something that is no number: '{text}'. A row is the answer, "
            f"then the numbers that a model is fed; only the answer may be a name, of a class."
        )
    return float(text)


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV that are not empty.

    Raises:
        DatasetError: if it cannot be read as text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [fields for fields in csv.reader(file) if any(field.strip() for field in fields)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"The table {path} cannot be read as CSV: {error}.") from error


def open_npz(path: Path, task: str | None) -> Table:
    """Open a `.npz`: `x` (or arrays named as the model's inputs) and `y`, a row for each sample.

    Raises:
        DatasetError: if it is broken, or its arrays do not fit each other.
    """
    arrays = _read_npz(path)
    name = next((name for name in ANSWERS if name in arrays), None)
    if name is None:
        raise DatasetError(
            f"{path} holds {', '.join(arrays) or 'nothing'}, and no answers: save them as 'y'."
        )
    columns = {key: value for key, value in arrays.items() if key != name}
    if set(columns) == {"x"}:
        columns = {"": columns["x"]}
    answers = arrays[name]
    if not columns or answers.ndim not in (1, 2) or not len(answers):
        raise DatasetError(f"{path} needs 'x' and 'y' with a row for each sample.")
    for key, value in columns.items():
        if value.ndim < 1 or len(value) != len(answers):
            raise DatasetError(
                f"{path}: '{key or 'x'}' has the shape {list(value.shape)} and '{name}' "
                f"{list(answers.shape)}: they need a row for each sample."
            )
        if value.dtype.kind not in _NUMBERS:
            raise DatasetError(
                f"{path}: '{key or 'x'}' holds {value.dtype}, and a model is fed numbers: save "
                f"them as float32, say."
            )
    if answers.ndim == 2 and answers.shape[1] == 1 and answers.dtype.kind in "iubUS":
        answers = answers[:, 0]
    return _checked(path, task, columns, answers)


def _checked(path: Path, task: str | None, columns: Mapping[str, Array], answers: Array) -> Table:
    if answers.dtype.kind in "US":
        return _named(path, task, columns, answers)
    if answers.dtype.kind not in _NUMBERS:
        raise DatasetError(
            f"The answers in {path} are {answers.dtype}: give numbers, or the names of classes as "
            f"texts."
        )
    whole = answers.ndim == 1 and bool(
        np.isfinite(answers).all() and (answers >= 0).all() and (answers == np.rint(answers)).all()
    )
    if task not in ("classify", "anomaly", "tensor"):
        task = "classify" if whole else "tensor"
    if task == "classify" and not whole:
        raise DatasetError(
            f"The answers in {path} are no classes, not whole numbers from 0. Classes that are "
            f"called otherwise are given as texts, by the model's labels."
        )
    if task == "anomaly" and not (whole and answers.max() <= 1):
        raise DatasetError(f"The answers in {path} must be 0 (normal) or 1 (an anomaly).")
    if not np.isfinite(answers.astype(np.float64)).all():
        raise DatasetError(f"The answers in {path} hold a number that is none.")
    return Table(path.name, task, columns, answers)


def _named(path: Path, task: str | None, columns: Mapping[str, Array], answers: Array) -> Table:
    """A table whose answers are names of classes."""
    if answers.dtype.kind == "S":
        try:
            answers = np.char.decode(answers, "utf-8")
        except UnicodeDecodeError as error:
            raise DatasetError(f"The answers in {path} are no texts in UTF-8: {error}.") from error
    if task not in (None, "classify"):
        raise DatasetError(
            f"The answers in {path} are texts ('{answers.flat[0]}'), and only classes have names: "
            f"give numbers for the task '{task}'."
        )
    if answers.ndim != 1:
        raise DatasetError(
            f"The answers in {path} are texts of the shape {list(answers.shape)}: give one name "
            f"of a class for each sample."
        )
    names, numbers = np.unique(np.char.strip(answers), return_inverse=True)
    return Table(path.name, "classify", columns, numbers, tuple(map(str, names)))


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        return read_npz(path)
    except ValueError as error:
        raise DatasetError(f"The dataset {path} is no readable .npz: {error}.") from error
