"""A report: raw samples, machine, validity evidence and placement, as versioned JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeinfer.errors import ReportError, UsageError
from edgeinfer.machine import Machine
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.validity import Validity

SCHEMA = "edgeinfer.report/2"
_MOST_DIGITS = 19
# No report comes near it; a device may never end.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Report:
    """What a benchmark found.

    Attributes:
        command: what repeats it.
        created: when it ended, UTC, ISO 8601.
        machine: `edgeinfer.machine.Machine.to_dict`.
        versions: package name to version, and ``python``.
        validity: can it be trusted?
        results: one per model, with unique labels.
    """

    command: str
    created: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    validity: Validity
    results: tuple[BenchResult, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against the numbers."""
        return not self.validity.reasons

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (schema ``edgeinfer.report/2``)."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "created": self.created,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "validity": self.validity.to_dict(),
            "results": [result.to_dict() for result in self.results],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Report:
        """Read `to_dict` back.

        Raises:
            KeyError: for a key that is missing.
            TypeError: for a value of another type.
            ValueError: for a report without results.
        """
        validity = data["validity"]
        results = tuple(BenchResult.from_dict(item) for item in data["results"])
        if not results:
            raise ValueError("it holds no results")
        return Report(
            command=str(data["command"]),
            created=str(data["created"]),
            machine=_machine(data["machine"]),
            versions=dict(data["versions"]),
            validity=Validity(
                tuple(validity["reasons"]), tuple(validity["notes"]), dict(validity["evidence"])
            ),
            results=results,
        )

    @staticmethod
    def load(path: str | Path) -> Report:
        """Read a report from its JSON file.

        Raises:
            ReportError: if the file is missing, no JSON, cut off, of another schema, or lacks
                something.
        """
        path = Path(path)
        data = _read_json(path)
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise ReportError(
                f"{path} has the schema {schema!r}; this version reads {SCHEMA}: give the .json "
                f"file that edgeinfer bench wrote, or measure again."
            )
        try:
            return Report.from_dict(data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
            raise ReportError(f"The report {path} {what}: measure again.") from error


def _machine(data: Any) -> dict[str, Any]:
    """A machine's description that `compare` can read; errors as of `Report.from_dict`."""
    if type(Machine.from_dict(data).memory_bytes) is not int:
        raise TypeError("memory_bytes is no whole number")
    return dict(data)


def _read_json(path: Path) -> Any:
    def whole(digits: str) -> int:
        # Nanoseconds and bytes fit into 64 bits; what does not, no figure can be computed from.
        if len(digits) > _MOST_DIGITS:
            raise ReportError(
                f"The report {path} is damaged (it holds a number of {len(digits):,} digits): "
                f"measure again."
            )
        return int(digits)

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ReportError(
                f"The report {path} is larger than {_MOST_BYTES >> 20} MiB, as none is: give the "
                f".json file that edgeinfer bench wrote."
            )
        return json.loads(text, parse_int=whole)
    except FileNotFoundError as error:
        raise ReportError(f"The report {path} does not exist.") from error
    except OSError as error:
        raise ReportError(f"The report {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"The report {path} is no complete JSON ({error}): it was cut off or is something "
            f"else; give the .json file that edgeinfer bench wrote, or measure again."
        ) from error


def now_iso() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0).isoformat()


def merge(reports: Sequence[Report]) -> Report:
    """Put the results of several runs on one page.

    They share a table and plots, nothing more: runs that were not interleaved saw the box in other
    moods, so no ratio between them is stated.

    Raises:
        UsageError: if there are none, or they come from other machines or versions.
    """
    if not reports:
        raise UsageError("There is no report to merge.")
    first = reports[0]
    for other in reports[1:]:
        for what, ours, theirs in (
            ("machine", first.machine, other.machine),
            ("versions", first.versions, other.versions),
        ):
            if ours != theirs:
                raise UsageError(
                    f"The reports differ in {what} ({_differing(ours, theirs)}): they cannot share "
                    f"a page; measure all models on one box."
                )
    labels = unique([result.label for report in reports for result in report.results])
    results = [result for report in reports for result in report.results]
    return Report(
        command="\n".join(dict.fromkeys(report.command for report in reports)),
        created=max(report.created for report in reports),
        machine=first.machine,
        versions=first.versions,
        validity=_merged_validity(reports),
        results=tuple(
            # Turns of different runs are no pairs.
            replace(result, label=label, block=result.block if len(reports) == 1 else None)
            for result, label in zip(results, labels, strict=True)
        ),
    )


def _merged_validity(reports: Sequence[Report]) -> Validity:
    """Everything that speaks against one of the runs speaks against the page."""
    if len(reports) == 1:
        return reports[0].validity
    parts = [report.validity for report in reports]
    return Validity(
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        {"runs": [dict(part.evidence) for part in parts]},
    )


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return ", ".join(f"{key}: {ours.get(key)} and {theirs.get(key)}" for key in keys[:3])


def unique(labels: Sequence[str]) -> list[str]:
    """Make labels differ: a second ``yolov8n`` becomes ``yolov8n (2)``."""
    taken: list[str] = []
    for label in labels:
        name, count = label, 1
        while name in taken:
            count += 1
            name = f"{label} ({count})"
        taken.append(name)
    return taken
