"""What a sweep over input sizes finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.errors import CheckFailed, UsageError
from edgeinfer_export.steps.plot import Dot, scatter_svg
from edgeinfer_export.steps.resize import SizeHW


@dataclass(frozen=True)
class Point:
    """One size in one precision.

    Attributes:
        size_hw: of the picture that the model takes.
        precision: of the file.
        path: the file; None where none was written.
        sha256: its hash.
        accuracy: the headline metric; None where it was not measured.
        p50_ns: median frame latency.
        best: whether no other point is both as good and as fast.
        refused: why there is no file, or None.
    """

    size_hw: SizeHW
    precision: str
    path: Path | None
    accuracy: float | None
    p50_ns: int | None
    best: bool = False
    refused: str | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """``320 int8``; both sides where they differ."""
        return f"{size_text(self.size_hw)} {self.precision}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "size_hw": list(self.size_hw),
            "precision": self.precision,
            "path": None if self.path is None else str(self.path),
            "sha256": self.sha256,
            "accuracy": self.accuracy,
            "p50_ns": self.p50_ns,
            "frontier": self.best,
            "refused": self.refused,
        }


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        metric: the name of the accuracy.
        points: sizes in the order that was given, FP32 first.
        threads: that latency was measured with.
        provider: that latency was measured on.
        report, plot: files beside the models.
        notes: for people.
    """

    metric: str
    points: tuple[Point, ...]
    threads: int
    provider: str
    report: Path
    plot: Path
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "edgeinfer.sweep/1",
            "metric": self.metric,
            "threads": self.threads,
            "provider": self.provider,
            "points": [point.to_dict() for point in self.points],
            "plot": str(self.plot),
            "notes": list(self.notes),
        }


def parse_sizes(text: str) -> tuple[SizeHW, ...]:
    """``320,416,480x640`` (height x width) to sizes.

    Raises:
        UsageError: if that is no list of sizes.
    """
    sizes = []
    for part in text.split(","):
        numbers = part.strip().lower().split("x")
        if len(numbers) > 2 or not all(one.isdecimal() and int(one) > 0 for one in numbers):
            raise UsageError(
                f"--input-size takes sizes such as 320,416,640 or 480x640 (height x width), not "
                f"'{text}'."
            )
        sizes.append((int(numbers[0]), int(numbers[-1])))
    return tuple(dict.fromkeys(sizes))


def files_of(output: Path, sizes: Sequence[SizeHW], precision: str) -> tuple[Path, ...]:
    """The models that an export writes: of several sizes one for each, in FP32 and as asked."""
    if len(sizes) < 2:
        return (output,)
    precisions = dict.fromkeys(("fp32", precision))
    return tuple(point_path(output, size, name) for size in sizes for name in precisions)


def point_path(output: Path, size_hw: SizeHW, precision: str) -> Path:
    """The file of one size in one precision, beside what the sweep is named after."""
    return output.with_name(f"{output.stem}-{size_text(size_hw)}-{precision}.onnx")


def size_text(size_hw: SizeHW) -> str:
    """``320`` for a square, else ``480x640``."""
    height, width = size_hw
    return str(height) if height == width else f"{height}x{width}"


def frontier(points: Sequence[Point]) -> tuple[Point, ...]:
    """Mark the points that no other is both as good and as fast as."""

    def beaten(one: Point) -> bool:
        if one.accuracy is None or one.p50_ns is None:
            return True
        return any(
            other.accuracy >= one.accuracy
            and other.p50_ns <= one.p50_ns
            and (other.accuracy > one.accuracy or other.p50_ns < one.p50_ns)
            for other in points
            if other.accuracy is not None and other.p50_ns is not None
        )

    return tuple(dataclasses.replace(one, best=not beaten(one)) for one in points)


def plot_of(swept: Swept) -> str:
    dots = [
        Dot(point.name, point.precision, point.p50_ns / 1e6, point.accuracy, point.best)
        for point in swept.points
        if point.p50_ns is not None and point.accuracy is not None
    ]
    if not dots:
        raise CheckFailed("Nothing was measured, so there is nothing to plot.")
    x_title = f"frame latency on {swept.provider}, ms ({swept.threads} thread(s))"
    return scatter_svg(dots, x_title, swept.metric, "accuracy against latency")
