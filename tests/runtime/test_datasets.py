"""Labelled data: what is read, and what each kind of damage is called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.datasets import BoxTruth, ClassTruth, DatasetError, open_dataset, read_picture
from edgeinfer.errors import SourceError


def write_picture(path: Path, width: int = 40, height: int = 20, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(value)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    root = tmp_path / "digits"
    for split in ("train", "val"):
        for name in ("a", "b"):
            write_picture(root / "images" / split / f"{name}.png")
            labels = root / "labels" / split / f"{name}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("1 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(
        "path:\ntrain: images/train\nval: images/val\nnames: {0: one, 1: two}\n"
    )
    return root


def boxes(sample: object) -> BoxTruth:
    truth = getattr(sample, "truth", None)
    assert isinstance(truth, BoxTruth)
    return truth


def test_boxes_are_in_pixels_of_the_picture(yolo: Path) -> None:
    dataset = open_dataset(str(yolo / "data.yaml"))
    samples = list(dataset)
    assert (dataset.task, dataset.labels, len(dataset)) == ("detect", ("one", "two"), 2)
    assert [sample.name for sample in samples] == ["images/val/a.png", "images/val/b.png"]
    assert samples[0].picture.shape == (20, 40, 3)
    np.testing.assert_allclose(boxes(samples[0]).boxes_xyxy, [[10, 5, 30, 15]])
    assert boxes(samples[0]).class_ids.tolist() == [1]


def test_a_dataset_can_be_walked_through_twice(yolo: Path) -> None:
    dataset = open_dataset(str(yolo))
    assert [sample.name for sample in dataset] == [sample.name for sample in dataset]


@pytest.mark.parametrize(
    ("lines", "split"),
    [
        ("train: images/train\nval: images/val", "val"),
        ("train: images/train\ntest: images/val\nval:", "test"),
        ("train: images/train", "train"),
    ],
)
def test_the_name_says_which_split_is_used(yolo: Path, lines: str, split: str) -> None:
    (yolo / "data.yaml").write_text(f"{lines}\nnames: [one, two]\n")
    assert open_dataset(str(yolo / "data.yaml")).name == f"data.yaml ({split})"


def test_a_path_that_names_the_folder_it_lies_in_is_understood(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("path: digits\nval: images/val\nnames: [one, two]\n")
    assert len(open_dataset(str(yolo / "data.yaml"))) == 2


def test_a_yaml_beside_its_dataset_is_followed(yolo: Path) -> None:
    outside = yolo.parent / "outside.yaml"
    outside.write_text("path: digits\nval: images/val\nnames: [one, two]\n")
    assert len(open_dataset(str(outside))) == 2


def test_a_split_may_be_a_list_of_folders_and_text_files(yolo: Path) -> None:
    (yolo / "some.txt").write_text("./images/train/a.png\n\n")
    (yolo / "data.yaml").write_text("val: [images/val, some.txt]\nnames: [one, two]\n")
    dataset = open_dataset(str(yolo / "data.yaml"))
    assert [sample.name for sample in dataset][-1] == "images/train/a.png"
    assert len(dataset) == 3


def test_a_folder_with_images_and_labels_needs_no_yaml(yolo: Path) -> None:
    (yolo / "data.yaml").unlink()
    (yolo / "classes.txt").write_text("one\ntwo\n")
    dataset = open_dataset(str(yolo))
    assert (dataset.labels, len(dataset)) == (("one", "two"), 4)


def test_a_missing_label_file_means_no_objects(yolo: Path) -> None:
    (yolo / "labels" / "val" / "a.txt").unlink()
    first, second = open_dataset(str(yolo))
    assert boxes(first).boxes_xyxy.shape == (0, 4)
    assert len(boxes(second).class_ids) == 1


def test_labels_that_are_nowhere_are_an_error(yolo: Path) -> None:
    for path in (yolo / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"None of the 2 pictures.*labels"):
        open_dataset(str(yolo))


def test_polygons_become_boxes_and_repeated_lines_count_once(yolo: Path) -> None:
    (yolo / "labels" / "val" / "a.txt").write_text(
        "0 0.1 0.2 0.5 0.2 0.3 0.8\n1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"
    )
    truth = boxes(next(iter(open_dataset(str(yolo)))))
    assert truth.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(truth.boxes_xyxy[0], [4, 4, 20, 16])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.5 0.5 0.2", "4 values"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 values"),
        ("cat 0.5 0.5 0.2 0.2", "no number"),
        ("0.5 0.5 0.5 0.2 0.2", "whole number"),
        ("-1 0.5 0.5 0.2 0.2", "whole number"),
        ("2 0.5 0.5 0.2 0.2", "there are 2 names"),
        ("nan 0.5 0.5 0.2 0.2", "whole number"),
        ("inf 0.5 0.5 0.2 0.2", "whole number"),
        ("0 20 30 5 5", "between 0 and 1"),
        ("0 0.5 0.5 nan 0.2", "between 0 and 1"),
        ("0 0.5 0.5 -0.005 0.2", "negative"),
    ],
)
def test_a_malformed_line_is_named_with_its_file_and_number(
    yolo: Path, line: str, why: str
) -> None:
    path = yolo / "labels" / "val" / "a.txt"
    path.write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(DatasetError, match=rf"a\.txt, line 2: .*{why}"):
        list(open_dataset(str(yolo)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("names: [a]", "names no pictures"),
        ("val: images/val", "'names' is None"),
        ("val: images/val\nnames: {1: a, 2: b}", "without a gap"),
        ("val: images/val\nnames: [a, b]\nnc: 3", "'nc' is 3"),
        ("val: images/nowhere\nnames: [a, b]", "images/nowhere"),
        ("val: 7\nnames: [a, b]", "'val' is 7"),
        ("- a", "not a mapping"),
        ("val: [unclosed", "not readable YAML"),
    ],
)
def test_a_yaml_that_does_not_fit_says_why(yolo: Path, text: str, why: str) -> None:
    (yolo / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=why):
        open_dataset(str(yolo / "data.yaml"))


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("cat", "ant", "bee"):
        write_picture(tmp_path / name / "x.png")
    dataset = open_dataset(str(tmp_path))
    assert (dataset.task, dataset.labels) == ("classify", ("ant", "bee", "cat"))
    truths = [sample.truth for sample in dataset]
    assert truths == [ClassTruth(0), ClassTruth(1), ClassTruth(2)]


def test_a_folder_of_splits_gives_its_val(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_picture(tmp_path / split / "ant" / f"{split}.png")
    dataset = open_dataset(str(tmp_path))
    assert dataset.name == f"{tmp_path.name} (val)"
    assert [sample.name for sample in dataset] == ["ant/val.png"]


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_picture_cut_in_the_middle_is_refused(tmp_path: Path, ending: str) -> None:
    path = write_picture(tmp_path / f"a{ending}", 200, 200)
    whole = read_picture(path)
    assert whole.shape == (200, 200, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=rf"a\{ending}.*is cut off"):
        read_picture(path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + b"trailer of a camera" * 100)
    assert read_picture(path).shape == (20, 40, 3)


@pytest.mark.parametrize(("data", "why"), [(b"", "empty"), (b"<html>", "HTML page")])
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=rf"a\.jpg.*{why}"):
        read_picture(path)


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("a,b\n")
    for name, why in (("empty", "no dataset"), ("a.csv", "no table"), ("gone", "not exist")):
        with pytest.raises(DatasetError, match=why):
            open_dataset(str(tmp_path / name))


@pytest.mark.realdata
def test_coco8_is_read_by_its_own_yaml(realdata: Path) -> None:
    dataset = open_dataset(str(realdata / "images" / "coco8" / "coco8.yaml"))
    samples = list(dataset)
    assert (dataset.name, len(dataset.labels), len(samples)) == ("coco8.yaml (val)", 80, 4)
    assert sum(len(boxes(sample).class_ids) for sample in samples) == 17
