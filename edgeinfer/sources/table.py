"""Which text means which kind of source."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeinfer.errors import SourceError, UsageError, suggest
from edgeinfer.records import dataclass
from edgeinfer.sniff import SOURCES_HELP, kind_of_file
from edgeinfer.sources.base import Source
from edgeinfer.sources.public import public_source
from edgeinfer.spec import TensorSpec

if TYPE_CHECKING:
    from edgeinfer.sources.video import Video


@dataclass(frozen=True)
class Wish:
    """What the caller asked for, beside the text itself.

    Attributes:
        size_wh: size of synthetic frames where the text names none.
        stride: every how many-th frame is given.
        threads: threads that decode a video.
        timeout_s: seconds without a frame after which a decoder is given up; None for the
            default of its kind.
        inputs: what the model wants to be given; it says where one frame of an array ends.
        reconnect_s: seconds for which a live stream that broke off, or is not there yet, is tried
            again.
        told: takes what happens to a live stream meanwhile, for people.
    """

    size_wh: tuple[int, int] | None = None
    stride: int = 1
    threads: int = 1
    timeout_s: float | None = None
    inputs: tuple[TensorSpec, ...] = ()
    reconnect_s: float = 0.0
    told: Callable[[str], None] | None = None


Opener = Callable[[str, Wish], Source]


def _pictures(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.pictures import open_pictures

    return open_pictures(text, wish.stride)


def _video(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.video import open_video

    return open_video(Path(text), wish.stride, wish.threads, wish.timeout_s)


def _arrays(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.arrays import open_arrays

    return open_arrays(Path(text), wish.stride, wish.inputs)


def _synthetic(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.synthetic import open_synthetic

    return open_synthetic(text, wish.size_wh)


def _camera(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.live import open_camera

    return _live(text, wish, lambda: open_camera(text, wish.stride, wish.timeout_s))


def _url(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.live import open_url

    return _live(
        public_source(text), wish, lambda: open_url(text, wish.stride, wish.threads, wish.timeout_s)
    )


def _gst(text: str, wish: Wish) -> Source:
    from edgeinfer.sources.live import open_gst

    return _live("gst", wish, lambda: open_gst(text, wish.stride, wish.timeout_s))


def _live(name: str, wish: Wish, opener: Callable[[], Video]) -> Source:
    """A stream that ends where it breaks off, or one that does not."""
    if not wish.reconnect_s:
        return opener()
    from edgeinfer.sources.lasting import Lasting

    return Lasting(name, opener, wish.reconnect_s, wish.told)


# By what the text begins with, up to its first colon.
_SCHEMES: Mapping[str, Opener] = MappingProxyType(
    {
        "synthetic": _synthetic,
        "camera": _camera,
        "gst": _gst,
        "rtsp": _url,
        "rtsps": _url,
        "http": _url,
        "https": _url,
    }
)
# By what a file is.
_FILES: Mapping[str, Opener] = MappingProxyType(
    {"picture": _pictures, "video": _video, "array": _arrays}
)


def open_source(
    text: str | Path,
    *,
    size_wh: tuple[int, int] | None = None,
    stride: int = 1,
    threads: int = 1,
    timeout_s: float | None = None,
    inputs: tuple[TensorSpec, ...] = (),
    reconnect_s: float = 0.0,
    told: Callable[[str], None] | None = None,
) -> Source:
    """Open whatever the text means.

    Args:
        text: a picture, a folder, a glob, a video file, arrays, ``synthetic[:WxH]``,
            ``camera:N``, an ``rtsp://`` or ``http(s)://`` stream, ``gst:PIPELINE``. A file or
            folder of that very name comes first.
        size_wh: size of synthetic frames where the text names none.
        stride: give every stride-th frame only.
        threads: threads that decode a video.
        timeout_s: seconds without a frame after which a video's decoder is killed; None for 30
            (files) or 10 (cameras and streams).
        inputs: those that a model wants to be given (`Model.given_inputs`): an array file that
            holds a stack of them is then a frame for each.
        reconnect_s: seconds for which a camera or stream that broke off, or is not there yet, is
            tried again (`math.inf`: for ever); 0 to let it end there. Its frames go on counting.
        told: takes a sentence when it breaks off and when it is back; of many, a few. It is called
            in the thread that reads.

    Raises:
        SourceError: if it is missing, empty or no source at all.
        UsageError: for a text that means nothing, a stride below 1 or a time below 0.
    """
    if not isinstance(text, (str, Path)):
        raise UsageError(
            f"A source is named by a text or a path, not by a value of {type(text).__name__}; "
            f"pictures in memory go to the model itself: model(frame)."
        )
    if stride < 1:
        raise UsageError(f"The stride is {stride}; give 1 (every frame) or more.")
    if threads < 1:
        raise UsageError(f"The number of threads is {threads}; give 1 or more.")
    if not reconnect_s >= 0:
        raise UsageError(f"reconnect_s is {reconnect_s}; give seconds, 0 or more.")
    wish = Wish(size_wh, stride, threads, timeout_s, inputs, reconnect_s, told)
    return _opener(str(text))(str(text), wish)


def is_live(text: str) -> bool:
    """Whether frames come by themselves: a camera, a stream."""
    return not Path(text).exists() and _scheme(text) in _SCHEMES and _scheme(text) != "synthetic"


def is_one_picture(text: str) -> bool:
    """Whether it is a single picture file."""
    path = Path(text)
    return path.is_file() and kind_of_file(path) == "picture"


def _scheme(text: str) -> str:
    return text.partition(":")[0].lower()


def check_source(text: str) -> None:
    """Raise what `open_source` would raise for a text that is nothing, without opening it.

    Raises:
        SourceError: if it is missing or no source at all.
        UsageError: for a text that means nothing.
    """
    _opener(text)


def _opener(text: str) -> Opener:
    if "\0" in text or not text:
        raise UsageError(f"The source {text!r} means nothing. A source is {SOURCES_HELP}.")
    path = Path(text)
    try:
        if path.is_dir():
            return _pictures
        if path.exists():
            return _FILES[kind_of_file(path)]
    except OSError as error:  # a name that is too long
        raise SourceError(f"The source {text} cannot be read: {error.strerror}.") from error
    scheme, colon, _ = text.partition(":")
    if scheme.lower() in _SCHEMES and (colon or scheme.lower() == "synthetic"):
        return _SCHEMES[scheme.lower()]
    if "://" in text:
        raise UsageError(f"Unknown kind of address '{scheme}'. {suggest(scheme, _SCHEMES)}")
    if glob.has_magic(text):
        return _pictures
    raise _missing(text, path)


def _missing(text: str, path: Path) -> SourceError:
    folder = path.parent
    if not folder.is_dir():
        return SourceError(
            f"The source {text} does not exist: there is no folder {folder}. Check the path; a "
            f"source is {SOURCES_HELP}."
        )
    if path.is_symlink():
        return SourceError(f"The source {text} is a link to nowhere ({path.readlink()}).")
    names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    hint = suggest(path.name, [*names, "synthetic"])
    near = f" {hint}" if hint.startswith("Did you mean") else ""
    return SourceError(
        f"The source {text} does not exist.{near} Check the path; a source is {SOURCES_HELP}."
    )
