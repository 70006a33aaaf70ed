"""Class maps as files, and their names in the JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer.cli import main as cli
from edgeinfer.frames import FrameId
from edgeinfer.results import Classes, ClassMap, Payload, Placement, Result, Served
from edgeinfer.sinks import ClassMaps

SERVED = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))
# Class 1 where the red channel is brighter than a half, else class 0.
HALVES = """
net (float[1, 3, 8, 8] images) => (float[1, 2, 8, 8] scores)
<int64[1] first = {0}, int64[1] second = {1}, int64[1] axis = {1}, float half = {0.5}>
{
  red = Slice(images, first, second, axis)
  zero = Sub(red, red)
  flat = Add(zero, half)
  scores = Concat <axis = 1> (flat, red)
}
"""
SPEC = {
    "task": "semantic",
    "head": "semantic",
    "labels": ["dark", "red"],
    "inputs": [{"name": "images", "kind": "image", "size_hw": [8, 8], "resize": "stretch"}],
}


def result(value: Payload, index: int = 0, media: int | None = None) -> Result[Payload]:
    frame = FrameId("a/b.jpg", index, media, 0, (4, 3))
    return Result(value, frame, "semantic", SERVED, {}, 0, 0)


def a_map(largest: int) -> ClassMap:
    kind = np.uint8 if largest < 256 else np.uint16
    return ClassMap(np.linspace(0, largest, 12).astype(kind).reshape(3, 4))


@pytest.mark.parametrize("largest", [3, 300])
def test_a_map_is_written_as_numbers(tmp_path: Path, largest: int) -> None:
    sink, value = ClassMaps(tmp_path / "out.jpg"), a_map(largest)
    written = sink.write(result(value), None)
    assert written is not None
    path = tmp_path / "out-mask.png"
    assert written.to_dict()["mask"] == str(path)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).tolist() == value.class_ids.tolist()


def test_maps_of_a_folder_are_named_as_their_pictures_and_never_twice(tmp_path: Path) -> None:
    sink = ClassMaps(tmp_path / "out")
    for _ in range(2):
        sink.write(result(a_map(3)), None)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    assert names == ["out/a/b-mask-2.png", "out/a/b-mask.png"]


def test_maps_of_a_video_go_to_a_folder_beside_it(tmp_path: Path) -> None:
    ClassMaps(tmp_path / "out.mp4").write(result(a_map(3), 7, 280_000_000), None)
    (path,) = tmp_path.rglob("*.png")
    assert path.parent.parent == tmp_path / "out-masks"


def test_other_results_are_let_through(tmp_path: Path) -> None:
    value = Classes(np.zeros(1, np.int64), np.ones(1, np.float32))
    assert ClassMaps(tmp_path / "out").write(result(value), None) is None


def test_run_writes_the_map_and_names_it(make_model: Any, tmp_path: Path, capsys: Any) -> None:
    picture = np.zeros((16, 24, 3), np.uint8)
    picture[:, 12:, 2] = 255
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    model = make_model(HALVES, spec=SPEC)
    lines, out = tmp_path / "lines.jsonl", tmp_path / "out.png"
    code = cli.main(
        ["run", str(model), str(tmp_path / "in.png"), "--json", str(lines), "--output", str(out)]
    )
    assert code == 0
    line = json.loads(lines.read_text())
    assert [(a["label"], a["share"]) for a in line["areas"]] == [("dark", 0.5), ("red", 0.5)]
    mask = cv2.imread(line["mask"], cv2.IMREAD_UNCHANGED)
    assert (mask[:, :12] == 0).all() and (mask[:, 12:] == 1).all()
    assert out.is_file()
    assert "dark 50.0%, red 50.0%" in capsys.readouterr().out
    code = cli.main(["run", str(model), str(tmp_path / "in.png"), "--json", str(lines)])
    assert (code, json.loads(lines.read_text())["mask"]) == (0, None)


def test_a_map_never_goes_over_what_is_read(make_model: Any, tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "in-mask.png"
    cv2.imwrite(str(source), np.zeros((8, 8, 3), np.uint8))
    before = source.read_bytes()
    model = make_model(HALVES, spec=SPEC)
    code = cli.main(["run", str(model), str(source), "--output", str(tmp_path / "in.png")])
    assert (code, source.read_bytes()) == (2, before)
    assert "in-mask.png is read by this run" in capsys.readouterr().err


def test_validate_measures_pixels(make_model: Any, tmp_path: Path, capsys: Any) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 4:, 2] = 255
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "one.bmp"), picture)
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 2:] = 1
    cv2.imwrite(str(tmp_path / "data" / "one_mask.png"), mask)
    code = cli.main(
        ["validate", str(make_model(HALVES, spec=SPEC)), str(tmp_path / "data"), "--format", "json"]
    )
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    # Class 0: 2 of 4 columns; class 1: 4 of 6.
    assert found["metrics"]["miou"] == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert found["per_class"] == {"dark": 0.5, "red": pytest.approx(4 / 6)}
