"""Arrays and synthetic frames as sources; what a source text means."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import InputError, SourceError, UsageError
from edgeinfer.frames import check_picture
from edgeinfer.sources import open_source
from edgeinfer.sources.random_arrays import RandomArrays
from edgeinfer.sources.synthetic import Synthetic
from edgeinfer.spec import TensorSpec


def test_a_batch_of_pictures_is_so_many_frames(tmp_path: Path) -> None:
    batch = np.random.default_rng(0).integers(0, 255, (7, 5, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "batch.npy", batch)
    source = open_source(str(tmp_path / "batch.npy"), stride=3)
    assert source.info.frame_count == 3 and source.info.size_wh == (6, 5)
    frames = list(source)
    assert [frame.id.index for frame in frames] == [0, 3, 6]
    for frame in frames:
        assert type(frame.data) is np.ndarray
        np.testing.assert_array_equal(frame.data, batch[frame.id.index])


@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6)])
def test_one_picture_is_one_frame(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "one.npy", np.full(shape, 9, np.uint8))
    (frame,) = open_source(str(tmp_path / "one.npy"))
    assert isinstance(frame.data, np.ndarray)
    check_picture(frame.data)
    assert frame.id.size_wh == (6, 5)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.array(3.5, np.float32),
        np.zeros((2, 3, 4), np.uint8),
    ],
)
def test_any_other_array_goes_to_the_only_input(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    source = open_source(str(tmp_path / "x.npy"))
    assert source.info.size_wh is None
    (frame,) = source
    assert isinstance(frame.data, dict) and list(frame.data) == [""]
    read = frame.data[""]
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative and read.flags.c_contiguous and read.shape == array.shape


def test_a_path_is_a_source_and_an_array_in_memory_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.full((5, 6, 3), 9, np.uint8))
    assert len(list(open_source(tmp_path / "one.npy"))) == 1
    with pytest.raises(UsageError, match=r"ndarray.*model\(frame\)"):
        open_source(np.zeros((5, 6, 3), np.uint8))  # type: ignore[arg-type]


def floats(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("array", "shape", "rows"),
    [
        (floats(4, 1, 3), (1, 3), [(1, 3)] * 4),
        (floats(4, 3), (1, 3), [(1, 3)] * 4),
        (floats(4, 1, 3), (1, "samples"), [(1, 3)] * 4),
        (floats(4, 3), ("batch", 3), [(4, 3)]),
        (floats(1, 3), (1, 3), [(1, 3)]),
        (floats(4, 5), (1, 3), [(4, 5)]),
        (floats(4), (), [()] * 4),
    ],
)
def test_a_stack_of_what_the_model_takes_is_a_frame_for_each_row(
    tmp_path: Path, array: np.ndarray, shape: tuple[int | str, ...], rows: list[tuple[int, ...]]
) -> None:
    np.save(tmp_path / "x.npy", array)
    source = open_source(str(tmp_path / "x.npy"), inputs=(TensorSpec("x", "float32", shape),))
    assert source.info.frame_count == len(rows)
    read = [frame.data[""] for frame in source if isinstance(frame.data, dict)]
    assert [part.shape for part in read] == rows
    np.testing.assert_array_equal(np.stack(read).ravel(), array.ravel())


def test_what_fits_as_it_is_goes_with_every_row_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=floats(4, 1, 3), rate=np.array(16000))
    inputs = (TensorSpec("x", "float32", (1, 3)), TensorSpec("rate", "int64", ()))
    frames = list(open_source(str(tmp_path / "x.npz"), inputs=inputs, stride=3))
    assert [frame.id.index for frame in frames] == [0, 3]
    for frame in frames:
        assert isinstance(frame.data, dict)
        np.testing.assert_array_equal(frame.data["x"], floats(4, 1, 3)[frame.id.index])
        assert frame.data["rate"] == 16000


def test_stacks_of_different_lengths_are_one_frame(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=floats(4, 1, 3), y=floats(2, 1, 3))
    inputs = (TensorSpec("x", "float32", (1, 3)), TensorSpec("y", "float32", (1, 3)))
    assert len(list(open_source(str(tmp_path / "x.npz"), inputs=inputs))) == 1


def test_an_npz_is_one_frame_with_named_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(3, np.float32), b=np.zeros((2, 2), np.int64))
    (frame,) = open_source(str(tmp_path / "x.npz"))
    assert isinstance(frame.data, dict)
    assert {name: array.shape for name, array in frame.data.items()} == {"a": (3,), "b": (2, 2)}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", a=np.array([{}], object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(SourceError, match=f"{name}.*numpy.save"):
            open_source(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npy", b""),
        ("a.npy", b"<html>not here</html>"),
        ("a.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order'"),
        ("a.npz", b""),
        ("a.npz", b"PK\x03\x04 cut off"),
        ("a.npz", b"<html>not here</html>"),
    ],
)
def test_a_broken_array_file_says_what_it_is(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=rf"{name} cannot be read"):
        open_source(str(tmp_path / name))


def test_an_array_shorter_than_its_header_says_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((100, 100), np.float32))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:5000])
    with pytest.raises(SourceError, match=r"a\.npy"):
        open_source(str(tmp_path / "a.npy"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("a.npy", b"little")
    data = bytearray((tmp_path / "bomb.npz").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    at = data.index(b"PK\x03\x04")
    data[at + 22 : at + 26] = (0xFFFFFFF0).to_bytes(4, "little")
    (tmp_path / "bomb.npz").write_bytes(data)
    with pytest.raises(SourceError, match=r"bomb\.npz .* would unpack to 4294967280 bytes"):
        open_source(str(tmp_path / "bomb.npz"))


def test_synthetic_frames_move_and_are_the_same_in_every_run() -> None:
    first, again = open_source("synthetic:64x48"), open_source("synthetic:64x48")
    frames = [next(first) for _ in range(20)]
    assert first.info.frame_count is None and first.info.size_wh == (64, 48)
    assert [frame.id.index for frame in frames] == list(range(20))
    for frame in frames:
        assert isinstance(frame.data, np.ndarray) and frame.data.shape == (48, 64, 3)
        assert not frame.data.flags.writeable
        np.testing.assert_array_equal(frame.data, next(again).data)
    assert (frames[0].data != frames[1].data).any()
    assert np.unique(np.asarray(frames[0].data)).size > 20
    first.close()
    assert list(first) == []


def test_the_size_of_synthetic_frames_is_the_texts_else_the_callers() -> None:
    assert open_source("synthetic:64x48", size_wh=(9, 9)).info.size_wh == (64, 48)
    assert open_source("synthetic", size_wh=(9, 7)).info.size_wh == (9, 7)
    assert open_source("synthetic").info.size_wh == (640, 480)


def test_large_synthetic_frames_do_not_fill_the_memory() -> None:
    assert len(Synthetic((3840, 2160))._frames) == 2


@pytest.mark.parametrize(
    "text",
    [
        "synthetic:",
        "synthetic:0x5",
        "synthetic:axb",
        "synthetic:99999x1",
        "ftp://host/x",
        "",
        "a\0b",
    ],
)
def test_a_text_that_means_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        open_source(text)


def test_an_unknown_scheme_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'http'"):
        open_source("htp://host/stream")


def test_a_stride_below_one_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="stride is 0"):
        open_source("synthetic", stride=0)


@pytest.mark.parametrize("name", ["notes.txt", "page.mp4", "list.m3u8", "empty.mp4"])
def test_a_file_that_is_no_source_is_told_apart_from_a_broken_one(
    tmp_path: Path, name: str
) -> None:
    content = {"notes.txt": b"hello\n", "page.mp4": b"<html></html>", "list.m3u8": b"#EXTM3U\n"}
    (tmp_path / name).write_bytes(content.get(name, b""))
    with pytest.raises(SourceError, match=r"is no source of frames.*A source is a picture"):
        open_source(str(tmp_path / name))


def test_bytes_are_no_picture_for_a_model_of_other_arrays(tmp_path: Path) -> None:
    path = tmp_path / "bytes.npy"
    np.save(path, np.array([[1, 2, 3, 250], [5, 6, 7, 8]], np.uint8))
    frames = list(open_source(path, inputs=(TensorSpec("x", "uint8", (1, 4)),)))
    assert len(frames) == 2
    assert isinstance(frames[1].data, dict)
    assert frames[1].data[""].tolist() == [[5, 6, 7, 8]]


def test_a_broken_header_of_an_array_says_so(tmp_path: Path) -> None:
    path = tmp_path / "broken.npy"
    np.save(path, np.zeros((1, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1, 3)", b"(1, 3,"))
    with pytest.raises(SourceError, match=r"broken\.npy cannot be read"):
        open_source(path)


def test_numbers_cannot_be_made_up_for_texts() -> None:
    with pytest.raises(InputError, match=r"'x' is tensor\(string\)"):
        RandomArrays((TensorSpec("x", "tensor(string)", (1, 4)),))


def test_a_name_that_is_too_long_is_an_error_of_the_source() -> None:
    with pytest.raises(SourceError, match="too long"):
        open_source("x" * 300 + ".png")


def test_a_link_to_nowhere_is_called_one(tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to("gone.png")
    with pytest.raises(SourceError, match=r"link to nowhere \(gone\.png\)"):
        open_source(link)
