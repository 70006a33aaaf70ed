"""Sensor and tabular data: CSV whose first column is the answer, `.npz` of `x` and `y`."""

from __future__ import annotations

import csv
import zipfile
import zlib
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
from edgeinfer.records import dataclass

ANSWERS = ("y", "labels", "label", "targets", "target")
_UNPACKED_LIMIT = 2 << 30


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of arrays with an answer each.

    Attributes:
        name: the file.
        task: ``classify``, ``anomaly``, or ``tensor`` (numbers are to be estimated).
        columns: input name (empty: the only input) to `(N, ...)`.
        answers: `(N,)` or `(N, V)`.
        labels: always empty: the answers are numbers.
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
    """Open a CSV of numbers: the answer, then what the model is fed; a header row is skipped.

    Args:
        task: what the answers are for; None for ``classify`` where they are whole numbers from 0,
            else ``tensor``.

    Raises:
        DatasetError: naming the file and the line that does not fit.
    """
    rows: list[list[float]] = []
    for number, fields in enumerate(read_csv(path), start=1):
        try:
            row = [float(field) for field in fields]
        except ValueError as error:
            if number == 1:
                continue  # a header
            said = f"{path}, row {number} holds something that is no number: {error}."
            raise DatasetError(said) from error
        if rows and len(row) != len(rows[0]):
            raise DatasetError(
                f"{path}, row {number} has {len(row)} columns, the first row {len(rows[0])}."
            )
        rows.append(row)
    if not rows or len(rows[0]) < 2:
        raise DatasetError(
            f"{path} holds no table: each row is the answer, then the numbers that a model is fed."
        )
    table = np.array(rows, np.float64)
    inputs = table[:, 1:].astype(np.float32)
    return _checked(path, task, {"": inputs}, table[:, 0])


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
    if answers.ndim == 2 and answers.shape[1] == 1 and answers.dtype.kind in "iub":
        answers = answers[:, 0]
    return _checked(path, task, columns, answers)


def _checked(path: Path, task: str | None, columns: Mapping[str, Array], answers: Array) -> Table:
    whole = answers.ndim == 1 and bool(
        np.isfinite(answers).all() and (answers >= 0).all() and (answers == np.rint(answers)).all()
    )
    if task not in ("classify", "anomaly", "tensor"):
        task = "classify" if whole else "tensor"
    if task == "classify" and not whole:
        raise DatasetError(f"The answers in {path} are no classes, not whole numbers from 0.")
    if task == "anomaly" and not (whole and answers.max() <= 1):
        raise DatasetError(f"The answers in {path} must be 0 (normal) or 1 (an anomaly).")
    if not np.isfinite(answers.astype(np.float64)).all():
        raise DatasetError(f"The answers in {path} hold a number that is none.")
    return Table(path.name, task, columns, answers)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > _UNPACKED_LIMIT:
            raise DatasetError(
                f"{path} would unpack to {unpacked} bytes, more than {_UNPACKED_LIMIT}: split it."
            )
        with np.load(path, allow_pickle=False) as members:
            return {name: members[name] for name in members.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        first = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DatasetError(f"The dataset {path} is no readable .npz: {first}.") from error
