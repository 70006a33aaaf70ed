"""Labelled data of the tasks beyond boxes and classes."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer.datasets import (
    AnomalyTruth,
    ClassTruth,
    DatasetError,
    MapTruth,
    MaskTruth,
    OrientedTruth,
    PoseTruth,
    TextTruth,
    UserMetric,
    ValueTruth,
    open_dataset,
)
from edgeinfer.datasets.yolo_shapes import fill
from edgeinfer.errors import SourceError
from edgeinfer.sources import open_source


def picture(path: Path, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 99, np.uint8))


def yolo(folder: Path, line: str, yaml: str = "names: [a, b]\nval: images\n") -> Path:
    picture(folder / "images" / "one.png")
    (folder / "labels").mkdir()
    (folder / "labels" / "one.txt").write_text(line)
    (folder / "data.yaml").write_text(yaml)
    return folder / "data.yaml"


def test_outlines_become_masks(tmp_path: Path) -> None:
    path = yolo(tmp_path, "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n0 0.5 0.5 0.1 0.2\n")
    dataset = open_dataset(str(path), "segment")
    (sample,) = dataset
    assert (dataset.task, sample.name) == ("segment", "images/one.png")
    truth = sample.truth
    assert isinstance(truth, MaskTruth)
    assert truth.class_ids.tolist() == [1, 0]
    inside = np.zeros((20, 40), bool)
    inside[5:15, 10:30] = True
    assert truth.masks[0].whole().tolist() == inside.tolist()
    assert truth.masks[1].area == 4 * 4


def test_a_mask_holds_the_pixels_whose_centres_lie_in_its_outline() -> None:
    random = np.random.default_rng(9)
    for _ in range(20):
        outline = random.uniform(-3, 33, (7, 2))
        mask = fill(outline, (30, 25)).whole()
        for row in range(25):
            for column in range(30):
                crossings = 0
                for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                    if (ay <= row + 0.5) != (by <= row + 0.5):
                        x = ax + (row + 0.5 - ay) / (by - ay) * (bx - ax)
                        crossings += x <= column + 0.5
                assert mask[row, column] == (crossings % 2 == 1)


def test_the_same_labels_may_be_read_as_boxes_or_turned_boxes(tmp_path: Path) -> None:
    path = yolo(tmp_path, "1 0.25 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n")
    assert open_dataset(str(path)).task == "detect"
    (sample,) = open_dataset(str(path), "obb")
    assert isinstance(sample.truth, OrientedTruth)
    assert sample.truth.polygons_xy[0].tolist() == [[10, 5], [30, 10], [20, 15], [10, 10]]


def test_keypoints_are_read_by_the_shape_in_the_yaml(tmp_path: Path) -> None:
    yaml = "names: [a]\nval: images\nkpt_shape: [2, 3]\n"
    path = yolo(tmp_path, "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0\n", yaml)
    dataset = open_dataset(str(path))
    assert dataset.task == "pose"
    (sample,) = dataset
    assert isinstance(sample.truth, PoseTruth)
    assert sample.truth.boxes_xyxy.tolist() == [[10, 5, 30, 15]]
    assert sample.truth.keypoints_xyv.tolist() == [[[10, 10, 2], [0, 0, 0]]]


def test_points_without_visibility_at_the_corner_are_not_labelled(tmp_path: Path) -> None:
    yaml = "names: [a]\nval: images\nkpt_shape: [2, 2]\n"
    (sample,) = open_dataset(str(yolo(tmp_path, "0 0.5 0.5 0.5 0.5 0.25 0.5 0 0\n", yaml)))
    assert isinstance(sample.truth, PoseTruth)
    assert sample.truth.keypoints_xyv[0, :, 2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("task", "line", "said"),
    [
        ("segment", "0 0.1 0.1 0.2 0.2 0.3", "line 1.*6 values"),
        ("obb", "0 0.5 0.5 0.1 0.1", "line 1.*5 values, not 9"),
        ("pose", "0 0.5 0.5 0.1 0.1 0.5 0.5 2", "line 1.*8 values, not 56"),
        ("segment", "7 0.1 0.1 0.2 0.2 0.3 0.3", "class 7 does not exist"),
        ("segment", "0 0.1 0.1 0.2 0.2 0.3 5", "not between 0 and 1"),
    ],
)
def test_a_label_that_does_not_fit_its_task_is_named(
    tmp_path: Path, task: str, line: str, said: str
) -> None:
    with pytest.raises(DatasetError, match=said):
        list(open_dataset(str(yolo(tmp_path, line)), task))


def test_a_wrong_keypoint_shape_is_refused(tmp_path: Path) -> None:
    yaml = "names: [a]\nval: images\nkpt_shape: [2, 5]\n"
    with pytest.raises(DatasetError, match="kpt_shape"):
        open_dataset(str(yolo(tmp_path, "", yaml)))


@pytest.mark.parametrize("beside", [True, False])
def test_pictures_meet_their_masks(tmp_path: Path, beside: bool) -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 20:] = 3
    mask[0, 0] = 255
    if beside:
        picture(tmp_path / "one.jpg")
        cv2.imwrite(str(tmp_path / "one_mask.png"), mask)
    else:
        picture(tmp_path / "images" / "one.jpg")
        (tmp_path / "masks").mkdir()
        cv2.imwrite(str(tmp_path / "masks" / "one.png"), mask)
        (tmp_path / "classes.txt").write_text("a\nb\n")
    dataset = open_dataset(str(tmp_path))
    (sample,) = dataset
    assert (dataset.task, len(dataset)) == ("semantic", 1)
    assert dataset.labels == (() if beside else ("a", "b"))
    assert isinstance(sample.truth, MapTruth)
    assert sample.truth.class_ids.tolist() == mask.tolist()


def palette_png(path: Path, numbers: np.ndarray) -> None:
    """A PNG with a palette of 256 colours, as Pascal VOC's masks are."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = numbers.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    palette = bytes((number * 7 + part * 50) % 256 for number in range(256) for part in range(3))
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in numbers))
    body = chunk(b"IHDR", head) + chunk(b"PLTE", palette) + chunk(b"IDAT", rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


def test_a_mask_with_a_palette_holds_numbers_and_not_colours(tmp_path: Path) -> None:
    picture(tmp_path / "one.jpg", 37, 20)
    numbers = np.random.default_rng(0).integers(0, 21, (20, 37)).astype(np.uint8)
    palette_png(tmp_path / "one.png", numbers)
    (sample,) = open_dataset(str(tmp_path), "semantic")
    assert isinstance(sample.truth, MapTruth)
    assert sample.truth.class_ids.tolist() == numbers.tolist()


def test_masks_that_cannot_be_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "one.jpg")
    with pytest.raises(DatasetError, match="no pictures with masks"):
        open_dataset(str(tmp_path), "semantic")
    cv2.imwrite(str(tmp_path / "one_mask.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(DatasetError, match="5x5.*40x20"):
        list(open_dataset(str(tmp_path)))
    colours = np.random.default_rng(0).integers(0, 255, (20, 40, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "one_mask.png"), colours)
    with pytest.raises(DatasetError, match="holds colours"):
        list(open_dataset(str(tmp_path)))
    (tmp_path / "one_mask.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DatasetError, match="cannot be read"):
        list(open_dataset(str(tmp_path)))


def test_the_first_column_of_a_table_is_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("class,a,b\n2,0.5,1\n0,1.5,2\n")
    dataset = open_dataset(str(path))
    first, second = dataset
    assert (dataset.task, len(dataset)) == ("classify", 2)
    assert first.truth == ClassTruth(2)
    assert isinstance(second.picture, dict)
    assert second.picture[""].tolist() == [1.5, 2]


def test_the_models_task_says_what_the_answers_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1,0.5\n0,1.5\n")
    (first, _) = open_dataset(str(path), "anomaly")
    assert first.truth == AnomalyTruth(True)
    (first, _) = open_dataset(str(path), "tensor")
    assert isinstance(first.truth, ValueTruth) and first.truth.values.tolist() == [1]
    path.write_text("1.5,0.5\n0,1.5\n")
    assert open_dataset(str(path)).task == "tensor"
    with pytest.raises(DatasetError, match="no classes"):
        open_dataset(str(path), "classify")
    with pytest.raises(DatasetError, match="0 \\(normal\\) or 1"):
        open_dataset(str(path), "anomaly")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n1,2,3\n", "row 2 has 3 columns"),
        ("1,2\n1,x\n", "row 2 holds something that is no number"),
        ("", "holds no table"),
        ("1\n2\n", "holds no table"),
        ("nan,1\n", "hold a number that is none"),
        ("1,x\n1,2\n", "row 1 holds something that is no number: 'x'"),
        ("5.1,3.5,setosa\n4.9,3,setosa\n", "only the answer may be a name"),
        ("1,2\nn/a,2\n", "row 2 holds something that is no number: 'n/a'"),
    ],
)
def test_a_broken_table_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=said):
        open_dataset(str(path))


def test_an_npz_holds_x_and_y_or_the_models_inputs(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    pictures = np.zeros((3, 8, 8), np.uint8)
    np.savez(path, x=pictures, y=np.array([1, 0, 2]))
    first = next(iter(open_dataset(str(path))))
    assert isinstance(first.picture, np.ndarray) and first.truth == ClassTruth(1)
    np.savez(path, left=np.zeros((3, 4)), right=np.ones((3, 2)), y=np.zeros((3, 2)) + 0.5)
    dataset = open_dataset(str(path))
    first = next(iter(dataset))
    assert dataset.task == "tensor"
    assert isinstance(first.picture, dict) and sorted(first.picture) == ["left", "right"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((3, 2))}, "no answers"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "a row for each sample"),
        ({"y": np.zeros(4)}, "needs 'x' and 'y'"),
        ({"x": np.zeros((1, 2)), "y": np.zeros(1, "M8[D]")}, r"are datetime64\[D\]: give numbers"),
        ({"x": np.zeros((1, 2)), "y": np.zeros(1, complex)}, "are complex128: give numbers"),
        ({"x": np.zeros((1, 2), complex), "y": np.zeros(1)}, "'x' holds complex128"),
        ({"x": np.zeros((1, 2)), "y": np.array([b"\xff"])}, "no texts in UTF-8"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DatasetError, match=said):
        open_dataset(str(tmp_path / "data.npz"))


@pytest.mark.parametrize("header", ["", "species,length,width\n"])
def test_answers_may_be_the_names_of_classes(header: str, tmp_path: Path) -> None:
    table, arrays = tmp_path / "names.csv", tmp_path / "names.npz"
    table.write_text(f"{header}virginica,1,2\nsetosa,3,4\n")
    answers = np.array(["virginica", "setosa"])
    for y in (answers, answers[:, None], answers.astype("S")):
        np.savez(arrays, x=np.array([[1, 2], [3, 4]]), y=y)
        for path in (table, arrays):
            dataset = open_dataset(str(path), "classify")
            assert (dataset.labels, len(dataset)) == (("setosa", "virginica"), 2)
            assert [sample.truth for sample in dataset] == [ClassTruth(1), ClassTruth(0)]
    for path in (table, arrays):
        with pytest.raises(DatasetError, match=r"are texts \('virginica'\)"):
            open_dataset(str(path), "tensor")


def test_a_header_of_numbers_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("y,0,1\n2,0.5,1\n")
    assert [sample.truth for sample in open_dataset(str(path))] == [ClassTruth(2)]


def npz(path: Path, *members: tuple[str, bytes]) -> Path:
    """An archive with an answer to two rows, and members that numpy would not have written."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in (("x", np.zeros((2, 3))), ("y", np.arange(2))):
            held = io.BytesIO()
            np.save(held, array)
            archive.writestr(f"{name}.npy", held.getvalue())
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_a_member_of_an_npz_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz", ("notes.txt", b"what the rows are"))
    with pytest.raises(DatasetError, match=r"data\.npz .*'notes\.txt' is no array"):
        open_dataset(str(path))


def test_an_npz_under_a_password_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz")
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="password"):
        open_dataset(str(path))
    with pytest.raises(SourceError, match="password"):
        open_source(str(path))


def test_a_broken_npz_is_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DatasetError, match="no readable .npz"):
        open_dataset(str(path))
    np.savez(path, x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(DatasetError, match="no readable .npz"):
        open_dataset(str(path))


def test_lines_of_text_from_a_table_or_beside_their_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = tmp_path / "lines.csv"
    table.write_text('file,text\na.png,"one, two"\n')
    (sample,) = open_dataset(str(table))
    assert (sample.name, sample.truth) == ("a.png", TextTruth("one, two"))
    (tmp_path / "a.txt").write_text("three\n")
    dataset = open_dataset(str(tmp_path))
    (sample,) = dataset
    assert (dataset.task, sample.truth) == ("text-recognize", TextTruth("three"))
    table.write_text("a.png,one,two\n")
    with pytest.raises(DatasetError, match="row 1 has 3 columns"):
        open_dataset(str(table))


def test_normal_pictures_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for name in ("good", "scratch"):
        picture(tmp_path / "test" / name / "1.png")
    dataset = open_dataset(str(tmp_path), "anomaly")
    assert [sample.truth for sample in dataset] == [AnomalyTruth(False), AnomalyTruth(True)]
    (tmp_path / "test" / "good").rename(tmp_path / "test" / "dent")
    with pytest.raises(DatasetError, match="which pictures are normal.*dent, scratch"):
        open_dataset(str(tmp_path), "anomaly")


USER = """
import numpy as np

def data():
    for number in range(3):
        yield np.zeros((4, 4, 3), np.uint8), number

data.labels = ["x", "y", "z"]

def odd():
    return [(np.zeros((2, 3), np.float32), True)]

def nothing():
    return []

def wrong():
    return [7]

def metric(model, progress):
    progress(2, 2)
    return {"mine": 0.5, "other": 1}

def fails():
    raise ValueError("out of luck")

def breaks():
    yield from data()
    raise ValueError("the disk is gone")

number = 7
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"users_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_users_samples_can_be_walked_through_again(user: str) -> None:
    dataset = open_dataset(f"{user}:data")
    assert (dataset.task, dataset.labels, len(dataset)) == ("classify", ("x", "y", "z"), 3)
    for _ in range(2):
        assert [sample.truth for sample in dataset] == [ClassTruth(n) for n in range(3)]
    assert str(Path.cwd()) not in sys.path


def test_a_users_arrays_go_to_the_only_input(user: str) -> None:
    dataset = open_dataset(f"{user}:odd")
    (sample,) = dataset
    assert dataset.task == "anomaly"
    assert isinstance(sample.picture, dict) and sample.picture[""].shape == (2, 3)


def test_a_callable_that_takes_a_model_is_a_metric(user: str) -> None:
    assert isinstance(open_dataset(f"{user}:metric"), UserMetric)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "gave no samples"),
        ("wrong", "gave a int as sample 0"),
        ("fails", "out of luck"),
        ("breaks", "failed: ValueError: the disk is gone"),
        ("gone", "cannot be imported.*no attribute 'gone'"),
        ("number", "is a int, not a callable"),
    ],
)
def test_what_a_user_did_wrong_is_said(user: str, name: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        open_dataset(f"{user}:{name}")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(DatasetError, match="no_such_module:data cannot be imported"):
        open_dataset("no_such_module:data")
