"""A report: raw samples, machine, validity evidence and placement, as versioned JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeinfer.errors import ReportError
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.validity import Validity

SCHEMA = "edgeinfer.report/2"


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
            machine=dict(data["machine"]),
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
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
            raise ReportError(f"The report {path} {what}: measure again.") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
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
