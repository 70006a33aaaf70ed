"""What a check says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class Finding:
    """One answer of one check.

    Attributes:
        check: what was looked at.
        verdict: ``ok``; ``warn``: it works, but slower, less or not for long; ``fail``: it does
            not work.
        detail: what is there, with the values seen.
        remedy: what to do; None for ``ok``.
    """

    check: str
    verdict: str
    detail: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(check: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", detail)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """It works, but slower, less or not for long."""
    return Finding(check, "warn", detail, remedy)


def fail(check: str, detail: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, "fail", detail, remedy)
