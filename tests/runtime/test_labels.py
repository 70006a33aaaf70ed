"""The names of classes: lists, and names by class number however those are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.errors import SpecError
from edgeinfer.labels import labels_of, read_labels


def test_labels_are_read_from_lines_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\n dog \n\n")
    (tmp_path / "a.json").write_text('["cat", "dog"]')
    (tmp_path / "a.yaml").write_text("names: {1: dog, 0: cat}")
    for name in ("a.txt", "a.json", "a.yaml"):
        assert read_labels(tmp_path / name) == ("cat", "dog")


def test_class_numbers_that_are_texts_count_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "id2label.json"
    path.write_text("{" + ", ".join(f'"{index}": "n{index}"' for index in range(12)) + "}")
    assert read_labels(path) == tuple(f"n{index}" for index in range(12))
    assert labels_of({"10": "k", 2: "c"})[2] == "c"


def test_a_class_without_a_name_keeps_its_number() -> None:
    assert labels_of({0: "zero", 2: "two", 5: "five"}) == ("zero", "1", "two", "3", "4", "five")


def test_names_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("names: [no, 0x10, null, 007, 2024-01-01]")
    assert read_labels(path) == ("no", "0x10", "null", "007", "2024-01-01")


@pytest.mark.parametrize(
    "names", [{"cat": 0}, {-1: "a"}, {True: "a"}, {(1, 2): "a"}, {}, [], "a", None]
)
def test_what_holds_no_names_by_number_gives_none(names: object) -> None:
    assert labels_of(names) is None


def test_a_number_that_no_class_has_is_refused() -> None:
    assert labels_of({10**9: "far"}) is None


@pytest.mark.parametrize("text", ["[" * 50_000, '{"cat": 0}', "a: [b", "[]"])
def test_a_file_that_holds_no_labels_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="labels.json"):
        read_labels(path)
