"""Pictures of single lines of text, with what they say: a CSV `file,text`, or NAME.txt beside
NAME.jpg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.datasets.base import DatasetError, Sample, TextTruth
from edgeinfer.datasets.pictures import is_picture, pictures_in, read_picture
from edgeinfer.datasets.tables import read_csv
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class TextPictures:
    """Pictures with the text on them.

    Attributes:
        name: the file or folder.
        lines: picture and text.
        root: what the names of samples are relative to.
        labels: always empty.
    """

    name: str
    lines: tuple[tuple[Path, str], ...]
    root: Path
    labels: tuple[str, ...] = ()
    task: str = "text-recognize"

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Sample]:
        for path, text in self.lines:
            inside = path.is_relative_to(self.root)
            name = str(path.relative_to(self.root) if inside else path)
            yield Sample(name, read_picture(path), TextTruth(text))


def is_text_table(path: Path) -> bool:
    """Whether a CSV names pictures in its first column."""
    rows = read_csv(path)
    return any(len(row) >= 2 and is_picture(Path(row[0].strip())) for row in rows[:2])


def open_text_table(path: Path) -> TextPictures:
    """Open a CSV of a picture's file, relative to the CSV, and its text; a header is skipped.

    Raises:
        DatasetError: naming the row that does not fit.
    """
    lines = []
    for number, row in enumerate(read_csv(path), start=1):
        if number == 1 and not is_picture(Path(row[0].strip())):
            continue
        if len(row) != 2:
            raise DatasetError(
                f"{path}, row {number} has {len(row)} columns, not 2: a picture's file and its "
                f"text (in quotes where it holds a comma)."
            )
        lines.append((path.parent / row[0].strip(), row[1]))
    if not lines:
        raise DatasetError(f"{path} names no pictures: each row is 'file,text'.")
    return TextPictures(path.name, tuple(lines), path.parent)


def find_text_pictures(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Pictures of a folder with a `.txt` of the same name beside them; empty where there are none.

    Raises:
        DatasetError: if a text cannot be read.
    """
    found = []
    for path in pictures_in(folder, deep=False):
        beside = path.with_suffix(".txt")
        if beside.is_file():
            try:
                text = beside.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise DatasetError(f"The text {beside} cannot be read: {error}.") from error
            found.append((path, text.rstrip("\r\n")))
    return tuple(found)
