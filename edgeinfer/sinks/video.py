"""Annotated video: `.mp4`, `.mkv`, `.avi`, which plays at any time, also after a kill.

Encoded by PyAV (https://pyav.basswood-io.com), FFmpeg's libraries in a wheel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError, SinkError
from edgeinfer.files import check_kept, check_writable, commit, temporary
from edgeinfer.frames import Array, Frame
from edgeinfer.geometry import fit
from edgeinfer.packages import need, opencv
from edgeinfer.records import dataclass
from edgeinfer.results import Payload, Result

_MIN_SIDE, _MAX_SIDE = 16, 8190
# A killed run loses what came after the last key frame: a second's worth.
_KEY_FRAME_SECONDS = 1.0


@dataclass(frozen=True)
class Container:
    """How files of one ending are written.

    Attributes:
        codecs: in the order in which they are tried; browsers play H.264.
        options: of FFmpeg's muxer, such that the file plays at any time.
    """

    codecs: tuple[str, ...]
    options: Mapping[str, str]


CONTAINERS: Mapping[str, Container] = MappingProxyType(
    {
        # A fragment per frame, whole in itself: an ordinary MP4 has its index at the end. One of
        # the fragments is left out: players do without, and until the end it would lie in memory.
        ".mp4": Container(
            ("libx264", "mpeg4"),
            {"movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer"},
        ),
        ".mkv": Container(("libx264", "mpeg4"), {"cluster_time_limit": "500"}),
        ".avi": Container(("mpeg4", "mjpeg"), {}),
    }
)
_CODEC_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # The quickest preset: the processor belongs to inference. No frames are held back.
        "libx264": {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"},
        "mpeg4": {"q:v": "4", "qmin": "2", "qmax": "8"},
        "mjpeg": {},
    }
)


class VideoFile:
    """Writes frames as a video of a constant rate.

    The file appears under its name with its first frame; an older one stays until then. Frames of
    another size than the first are letterboxed.

    Args:
        path: its ending names the container.
        fps: frames per second.

    Raises:
        SinkError: if no file can be created there.
        MissingPackageError: if PyAV is not installed.
    """

    needs_pixels = True

    def __init__(self, path: Path, fps: float) -> None:
        path = path.resolve()
        check_writable(path)
        self._av = need("av")
        self._path = path
        self._rate = Fraction(fps).limit_denominator(1001 * 60)
        self._file: Any = None
        self._stream: Any = None
        self._handle = -1
        self._size_wh: tuple[int, int] | None = None
        self._count = 0

    def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
        """Raises:
        SinkError: if the frame cannot be encoded or written, or the file was removed meanwhile.
        """
        if frame is None or not isinstance(frame.data, np.ndarray):
            return
        try:
            if self._size_wh is None:
                self._begin(frame.data)
            assert self._size_wh is not None
            check_kept(self._handle, self._path)
            picture = on_canvas(frame.data, self._size_wh)
            encoded = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
            encoded.pts, encoded.time_base = self._count, 1 / self._rate
            self._file.mux(self._stream.encode(encoded))
            self._count += 1
        except (self._av.FFmpegError, OSError) as error:
            raise SinkError(f"Cannot write {self._path}: {error.strerror or error}.") from error

    def _begin(self, picture: Array) -> None:
        """Open the file under a temporary name, then rename it while it is open."""
        self._size_wh = canvas_wh(picture.shape[1], picture.shape[0])
        container = CONTAINERS[self._path.suffix.lower()]
        temp = temporary(self._path)
        try:
            # FFmpeg would keep packets in its own buffer; a kill must not cost those.
            options = {**container.options, "flush_packets": "1"}
            self._file = self._av.open(str(temp), "w", options=options)
            codec = next(c for c in container.codecs if c in self._av.codecs_available)
            self._stream = self._file.add_stream(
                codec, rate=self._rate, options=dict(_CODEC_OPTIONS[codec])
            )
            self._stream.width, self._stream.height = self._size_wh
            self._stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            # One thread, and no frames held back for reordering: what was drawn is written.
            self._stream.codec_context.thread_count = 1
            self._stream.codec_context.max_b_frames = 0
            self._stream.gop_size = max(1, round(self._rate * Fraction(_KEY_FRAME_SECONDS)))
            self._file.start_encoding()
            commit(temp, self._path)
            self._handle = os.open(self._path, os.O_RDONLY)
        except BaseException:
            temp.unlink(missing_ok=True)
            self._file = self._stream = None
            raise

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        """Nothing: there is no picture to show."""

    def close(self, *, complete: bool) -> None:
        """Raises:
        SinkError: if the end cannot be written.
        """
        file, self._file = self._file, None
        if file is None:
            return
        os.close(self._handle)
        try:
            file.mux(self._stream.encode())
            file.close()
        except (self._av.FFmpegError, OSError) as error:
            raise SinkError(f"Cannot finish {self._path}: {error.strerror or error}.") from error


def canvas_wh(width: int, height: int) -> tuple[int, int]:
    """The video's size for a frame's: even sides that encoders take, smaller where too large."""
    scale = min(1.0, _MAX_SIDE / max(width, height))
    width, height = round(width * scale), round(height * scale)
    return max(_MIN_SIDE, width + width % 2), max(_MIN_SIDE, height + height % 2)


def on_canvas(picture: Array, size_wh: tuple[int, int]) -> Array:
    """Bring a picture to the video's size: black borders, the aspect ratio kept.

    Args:
        picture: `(H, W, 3)` or `(H, W)` uint8.

    Returns:
        `(height, width, 3)` uint8, C order; the picture itself where it fits already.
    """
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    height, width = picture.shape[:2]
    if (width, height) == size_wh:
        return np.ascontiguousarray(picture)
    canvas: Array = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    gap_x, gap_y = size_wh[0] - width, size_wh[1] - height
    if gap_x in (0, 1) and gap_y in (0, 1):  # an odd side: no scaling for that
        canvas[:height, :width] = picture
        return canvas
    place = fit((width, height), (size_wh[1], size_wh[0]), "letterbox", "center")
    (inner_w, inner_h), (x, y) = place.inner_wh, place.offset_xy
    cv2 = opencv()
    resized = cv2.resize(picture, (inner_w, inner_h), interpolation=cv2.INTER_AREA)
    canvas[y : y + inner_h, x : x + inner_w] = resized
    return canvas
