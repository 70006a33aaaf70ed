"""Read Darknet's two files.

Source: the parser of https://github.com/AlexeyAB/darknet, whose cfg files are those in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.files import read_bytes, read_text

# Three numbers of the version, and how many pictures were seen; that one has 8 bytes since 0.2.
_VERSION_BYTES = 12
_NEW_TRANSPOSED = 1000


@dataclass(frozen=True)
class Section:
    """A layer as the file describes it.

    Attributes:
        kind: what stands in brackets.
        values: its settings, as text.
        index: its number among the layers, from 0, by which others refer to it.
        line: where it begins.
        where: the file.
    """

    kind: str
    values: Mapping[str, str]
    index: int
    line: int
    where: str

    @property
    def place(self) -> str:
        """What it is called in error messages."""
        return f"layer {self.index} [{self.kind}] (line {self.line})"

    def word(self, name: str, default: str = "") -> str:
        """A setting as text."""
        return self.values.get(name, default)

    def integer(self, name: str, default: int = 0) -> int:
        """A setting as an integer."""
        return int(self.number(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """A setting as a number."""
        return self.numbers(name, [default])[0]

    def numbers(self, name: str, default: list[float] | None = None) -> list[float]:
        """A setting as a list of numbers."""
        text = self.values.get(name, "")
        try:
            found = [float(word) for word in text.replace(",", " ").split()]
            if any(not np.isfinite(item) or abs(item) > 1e9 for item in found):
                raise ValueError
        except ValueError:
            raise ModelFileError(
                f"{self.where}, {self.place}: {name} is '{text}', not a number."
            ) from None
        return found or (default or [])


def read_network(path: Path) -> tuple[Section, list[Section]]:
    """The settings of the whole network, and its layers.

    Raises:
        ModelFileError: if it is missing or no such description.
    """
    sections: list[Section] = []
    values: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        line = line.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            values = {}
            kind = line[1:-1].strip().lower()
            sections.append(Section(kind, values, len(sections) - 1, number, path.name))
        elif "=" in line and sections:
            name, _, value = line.partition("=")
            values[name.strip()] = value.strip()
        else:
            raise ModelFileError(
                f"{path.name} is no Darknet network: line {number} is {line[:40]!r}, neither a "
                f"[section] nor a setting."
            )
    if not sections or sections[0].kind not in ("net", "network"):
        first = f"[{sections[0].kind}]" if sections else "nothing"
        raise ModelFileError(f"{path.name} is no Darknet network: it begins with {first}.")
    if len(sections) == 1:
        raise ModelFileError(f"{path.name} describes no layers: it is cut off.")
    return sections[0], sections[1:]


class Weights:
    """A file of weights, taken from its beginning to its end as the layers need them."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ModelFileError: if it is missing, or too short for a header.
        """
        data = read_bytes(path)
        self.name = path.name
        if len(data) < _VERSION_BYTES + 8:
            raise ModelFileError(f"{path.name} has {len(data)} bytes: it is cut off.")
        major, minor, _ = (int(number) for number in np.frombuffer(data, "<i4", 3))
        new = major * 10 + minor >= 2 and major < _NEW_TRANSPOSED and minor < _NEW_TRANSPOSED
        if major < 0 or minor < 0:
            raise ModelFileError(
                f"{path.name} says that it is of version {major}.{minor}: it is no Darknet file."
            )
        self.transposed = major > _NEW_TRANSPOSED or minor > _NEW_TRANSPOSED
        start = _VERSION_BYTES + (8 if new else 4)
        self._values = np.frombuffer(data, "<f4", (len(data) - start) // 4, start)
        self._next = 0

    def take(self, count: int, where: str, place: str) -> Array:
        """The next weights.

        Raises:
            ModelFileError: if there are not so many left.
        """
        left = self._values.size - self._next
        if count > left:
            raise ModelFileError(
                f"{where}, {place}: it needs {count} weights, and {self.name} has {left} left: the "
                f"file is cut off, or belongs to another network."
            )
        found = self._values[self._next : self._next + count]
        self._next += count
        return found

    def finish(self, where: str) -> None:
        """Refuse a file that has more than the network takes.

        Raises:
            ModelFileError: if there are weights left.
        """
        left = self._values.size - self._next
        if left:
            raise ModelFileError(
                f"{self.name} has {self._values.size} weights, and {where} takes {self._next} of "
                f"them: they do not belong together."
            )
