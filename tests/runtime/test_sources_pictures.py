"""Pictures as sources: one, a folder, a glob; broken ones."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.errors import SourceError
from edgeinfer.frames import Array, Frame
from edgeinfer.pictures import PIXEL_LIMIT, decode_picture
from edgeinfer.sniff import looks_like
from edgeinfer.sources import Source, open_source
from edgeinfer.sources.pictures import natural_key


def a_picture(width: int = 40, height: int = 30, shade: int = 90) -> Array:
    picture = np.full((height, width, 3), shade, np.uint8)
    picture[5:15, 5:20] = (20, 40, 200)
    return picture


def encoded(suffix: str, picture: Array | None = None) -> bytes:
    good, data = cv2.imencode(suffix, a_picture() if picture is None else picture)
    assert good
    return bytes(data.tobytes())


def drain(source: Source) -> tuple[list[Frame], list[SourceError]]:
    """All frames, going on after every error as a skipping consumer does."""
    frames: list[Frame] = []
    errors: list[SourceError] = []
    while True:
        try:
            frames.append(next(source))
        except StopIteration:  # noqa: PERF203 - that it may go on after an error is the point
            return frames, errors
        except SourceError as error:
            errors.append(error)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".webp"])
def test_a_picture_is_one_frame_named_as_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bus{suffix}"
    path.write_bytes(encoded(suffix))
    source = open_source(str(path))
    frames, errors = drain(source)
    assert not errors
    assert source.info.frame_count == 1 and source.info.kind == "pictures"
    (frame,) = frames
    assert (frame.id.stream, frame.id.index, frame.id.size_wh) == (path.name, 0, (40, 30))
    assert frame.id.flags == () and frame.stages_ns["capture"] > 0
    assert isinstance(frame.data, np.ndarray)
    assert np.abs(frame.data.astype(int) - a_picture()).max() < 12


def test_a_picture_with_the_wrong_ending_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "photo.dat"
    path.write_bytes(encoded(".png"))
    frames, _ = drain(open_source(str(path)))
    assert frames[0].id.size_wh == (40, 30)


def test_grey_and_transparent_and_deep_pictures_become_bgr(tmp_path: Path) -> None:
    pictures = {
        "grey": np.full((8, 9), 70, np.uint8),
        "alpha": np.full((8, 9, 4), 70, np.uint8),
        "deep": np.full((8, 9, 3), 70 * 257, np.uint16),
    }
    for name, picture in pictures.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(".png", picture))
    frames, _ = drain(open_source(str(tmp_path)))
    for frame in frames:
        assert isinstance(frame.data, np.ndarray)
        assert frame.data.shape == (8, 9, 3) and frame.data.dtype == np.uint8
        assert (frame.data == 70).all()


def test_the_orientation_of_a_photo_is_applied(tmp_path: Path) -> None:
    # An EXIF block whose only entry says: orientation 6, to be turned by 90 degrees.
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    exif = b"Exif\0\0" + tiff
    jpeg = encoded(".jpg")
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    (tmp_path / "a.jpg").write_bytes(turned)
    frames, _ = drain(open_source(str(tmp_path / "a.jpg")))
    assert frames[0].id.size_wh == (30, 40)


def test_a_folder_is_read_in_natural_order_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.png", "F1.PNG", ".hidden.png"):
        (tmp_path / name).write_bytes(encoded(".png"))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "f3.png").write_bytes(encoded(".png"))
    frames, errors = drain(open_source(str(tmp_path)))
    assert [frame.id.stream for frame in frames] == ["F1.PNG", "f2.png", "f10.png"]
    assert not errors


def test_without_pictures_at_its_top_a_folder_gives_those_below(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/1.png", "cat/deep/2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(encoded(".png"))
    source = open_source(str(tmp_path), stride=2)
    assert source.info.frame_count == 2
    assert [frame.id.stream for frame in drain(source)[0]] == ["cat/1.png", "dog/1.png"]


def test_a_glob_names_its_pictures_relative_to_its_fixed_part(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encoded(".png"))
    (tmp_path / "a" / "1.txt").write_text("text")
    frames, _ = drain(open_source(f"{tmp_path}/**/*"))
    assert [frame.id.stream for frame in frames] == ["a/1.png"]


def test_a_file_with_brackets_in_its_name_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "photo[1].png").write_bytes(encoded(".png"))
    assert len(drain(open_source(f"{tmp_path}/photo[1].png"))[0]) == 1


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_jpeg_is_flagged(tmp_path: Path, keep: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    data = encoded(".jpg", cv2.GaussianBlur(noise, (0, 0), 2))
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * keep)])
    frames, errors = drain(open_source(str(tmp_path / "cut.jpg")))
    assert not errors
    assert frames[0].id.flags == ("truncated",) and frames[0].id.size_wh == (300, 200)


def test_a_whole_jpeg_with_bytes_behind_its_end_is_not_flagged() -> None:
    assert decode_picture(encoded(".jpg") + b"appended by a camera" * 20, "x")[1] == ()


def test_the_end_mark_of_a_thumbnail_does_not_hide_that_the_picture_is_cut_off() -> None:
    jpeg = encoded(".jpg", a_picture(300, 200))
    thumbnail = b"Exif\0\0" + encoded(".jpg", a_picture(8, 8))
    inside = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + jpeg[2:]
    assert decode_picture(inside, "x")[1] == ()
    assert decode_picture(inside[:-40], "x")[1] == ("truncated",)


def test_a_truncated_png_is_an_error_that_says_so() -> None:
    with pytest.raises(SourceError, match=r"x.png is cut off"):
        decode_picture(encoded(".png")[:-6], "x.png")


def test_opencv_adds_no_words_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    head = encoded(".webp")[:26]
    with pytest.raises(SourceError, match=r"x.webp cannot be decoded: it looks like a WebP"):
        decode_picture(head, "x.webp")
    assert capfd.readouterr() == ("", "")


def test_iteration_goes_on_after_a_broken_picture(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded(".png"))
    (tmp_path / "2.jpg").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "4.bmp").write_bytes(encoded(".bmp")[:200])
    (tmp_path / "5.png").write_bytes(encoded(".png"))
    frames, errors = drain(open_source(str(tmp_path)))
    assert [frame.id.stream for frame in frames] == ["1.png", "5.png"]
    for error, words in zip(errors, ("2.jpg.*HTML", "3.png.*empty", "4.bmp.*BMP"), strict=True):
        with pytest.raises(SourceError, match=words):
            raise error


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    png = bytearray(encoded(".png"))
    png[16:24] = struct.pack(">II", 60000, 60000)
    bmp = bytearray(encoded(".bmp"))
    bmp[18:26] = struct.pack("<ii", 50000, -50000)
    jpeg = bytearray(encoded(".jpg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    for data, claim in ((png, "60000x60000"), (bmp, "50000x50000"), (jpeg, "65500x65500")):
        with pytest.raises(SourceError, match=f"{claim}.*{PIXEL_LIMIT}"):
            decode_picture(bytes(data), "bomb")


def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bus.jpg").write_bytes(encoded(".jpg"))
    (tmp_path / "empty").mkdir()
    cases = {
        "bux.jpg": "does not exist.*Did you mean 'bus.jpg'",
        "gone/bus.jpg": "no folder",
        "empty": "holds no picture",
        "*.webp": "Nothing matches.*quote",
    }
    for text, message in cases.items():
        with pytest.raises(SourceError, match=message):
            open_source(str(tmp_path / text))


def test_a_closed_source_gives_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "bus.jpg").write_bytes(encoded(".jpg"))
    source = open_source(str(tmp_path))
    source.close()
    source.close()
    assert list(source) == []


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["b", "a10", "a9", "a²", "10", "9", ""]
    assert sorted(names, key=natural_key) == ["", "9", "10", "a9", "a10", "a²", "b"]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "other"),
        (b"\0" * 512, "other"),
        (b"#EXTM3U\nhttp://host/list.ts\n", "other"),
        ("ü is text, too\n".encode(), "other"),
        (b"\0\0\0\x20ftypisom", "video"),
        (b"\0\0\0\x20ftypavif", "picture"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "other"),
        (b"BM looks like a bitmap, and is none", "other"),
        (b"\x08\x07\x12\x07pytorch", "unknown"),
    ],
)
def test_files_are_known_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert looks_like(head)[0] == kind


@pytest.mark.realdata
def test_the_real_pictures_can_be_read(realdata: Path) -> None:
    frames, errors = drain(open_source(str(realdata / "images" / "yolov5")))
    assert not errors
    sizes = {frame.id.stream: frame.id.size_wh for frame in frames}
    assert sizes["bus.jpg"] == (810, 1080) and sizes["zidane.jpg"] == (1280, 720)
