"""Annotated pictures, and which path means which sink."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.errors import SinkError, UsageError
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.results import Payload, Placement, Result, Served, Tensors
from edgeinfer.sinks import open_sink
from edgeinfer.sinks.pictures import FreeNames, PictureFile, PictureFolder, file_name
from edgeinfer.sinks.video import VideoFile
from edgeinfer.sources import SourceInfo

ONE = SourceInfo("bus.jpg", False, "pictures", 1, None, None)
MANY = replace(ONE, name="folder", frame_count=3)
VIDEO = SourceInfo("a.mp4", False, "video", 100, 20.0, (64, 48))
TENSORS = SourceInfo("a.npz", False, "arrays", 1, None, None)
SERVED = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))


def a_frame(stream: str, index: int = 0, media_time_ns: int | None = None) -> Frame:
    picture: Array = np.full((20, 30, 3), 77, np.uint8)
    return Frame(FrameId(stream, index, media_time_ns, 0, (30, 20)), picture)


def a_result(frame: Frame) -> Result[Payload]:
    return Result(Tensors({}), frame.id, "tensor", SERVED, {}, 0, 0)


def put(sink: PictureFile | PictureFolder, frame: Frame) -> None:
    sink.write(a_result(frame), frame)


@pytest.mark.parametrize("name", ["a.jpg", "a.PNG", "a.bmp", "a.tiff", "a.webp"])
def test_a_picture_is_written_in_the_format_of_its_ending(tmp_path: Path, name: str) -> None:
    sink = open_sink(tmp_path / name, ONE)
    assert isinstance(sink, PictureFile) and sink.needs_pixels
    put(sink, a_frame("bus.jpg"))
    sink.close(complete=True)
    picture = cv2.imread(str(tmp_path / name))
    assert picture.shape == (20, 30, 3) and abs(int(picture[5, 5, 0]) - 77) < 5


def test_a_folder_is_made_and_names_come_from_the_streams(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    sink = open_sink(folder, MANY)
    assert isinstance(sink, PictureFolder) and not folder.exists()
    for stream in ("bus.jpg", "cat/1.png", "bus.jpg", "bus.jpg", "photo.avif"):
        put(sink, a_frame(stream))
    put(sink, a_frame("clip.mp4", 7, 0))
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    assert written == [
        "bus-2.jpg",
        "bus-3.jpg",
        "bus.jpg",
        "cat/1.png",
        "clip-000007.jpg",
        "photo.png",
    ]


def test_names_that_meet_another_source_get_a_number(tmp_path: Path) -> None:
    sink = open_sink(tmp_path, MANY)
    frames = [a_frame("clip-000001.jpg")]
    frames += [a_frame("clip.mp4", index, 0) for index in (0, 1, 2, 0, 1, 3)]
    frames += [a_frame("clip-000002.jpg"), a_frame("clip-000009.jpg"), a_frame("clip-000005.jpg")]
    for frame in frames:
        put(sink, frame)
    written = sorted(path.stem for path in tmp_path.iterdir())
    numbers = ["0", "0-2", "1", "1-2", "1-3", "2", "2-2", "3", "5", "9"]
    assert written == [f"clip-00000{number}" for number in numbers]


def test_names_of_a_stream_take_no_memory(tmp_path: Path) -> None:
    names = FreeNames()
    for index in range(1000):
        identity = FrameId("rtsp://box/cam", index, index, 0, (30, 20))
        path = tmp_path / file_name(identity)
        assert names.take(path, identity) == path
        mask = path.with_name(f"{path.stem}-mask.png")
        assert names.take(mask, identity) == mask
    assert len(pickle.dumps(names)) < 1000


@pytest.mark.parametrize(
    "stream", ["../../etc/x.jpg", "/etc/x.jpg", "rtsp://cam:554/a/b", "camera:0", "..", "."]
)
def test_no_stream_leads_out_of_the_folder(tmp_path: Path, stream: str) -> None:
    name = file_name(a_frame(stream).id)
    assert not name.is_absolute() and ".." not in name.parts
    put(PictureFolder(tmp_path), a_frame(stream))


def test_what_fits_no_source_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    cases = [
        ("out.mp4", ONE, r"one picture.*out\.jpg"),
        ("out.jpg", VIDEO, r"100 frames.*folder.*out\.mp4"),
        ("out.png", replace(VIDEO, frame_count=None), "many frames"),
        ("out.xyz", VIDEO, r"'\.xyz'.*Known: \.avi.*\.webp"),
        ("out.mp4", TENSORS, "--json FILE"),
    ]
    for name, info, message in cases:
        with pytest.raises(UsageError, match=message):
            open_sink(tmp_path / name, info)


def test_videos_go_to_videos_or_folders(tmp_path: Path) -> None:
    assert isinstance(open_sink(tmp_path / "a.MP4", VIDEO), VideoFile)
    assert isinstance(open_sink(tmp_path / "a.mkv", MANY), VideoFile)
    assert isinstance(open_sink(tmp_path, VIDEO), PictureFolder)


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path, info in (("gone/a.jpg", ONE), ("gone/a.mp4", VIDEO), ("file/folder", MANY)):
        with pytest.raises(SinkError):
            open_sink(tmp_path / path, info)


def test_a_frame_without_pixels_writes_nothing(tmp_path: Path) -> None:
    sink = PictureFolder(tmp_path / "out")
    frame = Frame(FrameId("a.npz", 0, None, 0, None), {"x": np.zeros(3)})
    sink.write(a_result(frame), frame)
    sink.write(a_result(frame), None)
    sink.fail("a", 0, SinkError("x"))
    sink.close(complete=False)
    assert not (tmp_path / "out").exists()
