"""What a file is, by its first bytes where they tell, else by its ending."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import SourceError

SOURCES_HELP = (
    "a picture, a folder of pictures, a glob, a video file, arrays (.npy, .npz), "
    "synthetic[:WxH], camera:N, rtsp://..., http(s)://... or gst:PIPELINE"
)

PICTURE_SUFFIXES = frozenset(
    (
        ".avif",
        ".bmp",
        ".dib",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)
ARRAY_SUFFIXES = frozenset((".npy", ".npz"))

# Signatures: https://www.garykessler.net/library/file_sigs.html and each format's specification.
_PICTURES = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
)
_VIDEOS = (
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"FLV\x01", "a Flash video"),
    (b"\0\0\x01\xba", "an MPEG video"),
    (b"\0\0\x01\xb3", "an MPEG video"),
    (b"OggS", "an Ogg file"),
    (b"0&\xb2u\x8ef\xcf\x11", "a Windows Media video"),
    (b"GIF8", "a GIF animation"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
    (b"ID3", "an audio file"),
)
# ISO/IEC 23008-12: pictures that live in the container of MP4.
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def looks_like(head: bytes) -> tuple[str, str]:
    """Say what a file is by its first bytes.

    Args:
        head: the first 512 bytes, or all of a shorter file.

    Returns:
        ``picture``, ``video``, ``array``, ``other`` or ``unknown``, and words for people.
    """
    if not head:
        return "other", "an empty file (0 bytes)"
    if head[:4] == b"RIFF":
        form = head[8:12]
        if form == b"WEBP":
            return "picture", "a WebP picture"
        return ("video", "an AVI video") if form == b"AVI " else ("other", "a RIFF file, no video")
    if head[4:8] == b"ftyp":
        if head[8:12] in _PICTURE_BRANDS:
            return "picture", "an AVIF or HEIF picture"
        return "video", "an MP4 or MOV video"
    if head.startswith(b"\x93NUMPY"):
        return "array", "a NumPy array"
    for signatures, kind in ((_PICTURES, "picture"), (_VIDEOS, "video"), (_OTHERS, "other")):
        for signature, words in signatures:
            if head.startswith(signature) and not (words == "a BMP picture" and not _is_bmp(head)):
                return kind, words
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "picture", "a PNM picture"
    return _text_or_unknown(head)


def _is_bmp(head: bytes) -> bool:
    return int.from_bytes(head[14:18], "little") in _BMP_HEADERS


_UNKNOWN = "nothing that is known here"


def _text_or_unknown(head: bytes) -> tuple[str, str]:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "other", "an HTML page (a download that went wrong)"
    if not head.strip(b"\0"):
        return "other", "nothing but zeros (a copy that went wrong)"
    if b"\0" not in head and sum(byte < 9 or 13 < byte < 32 for byte in head) == 0:
        # Playlists and scripts that FFmpeg would follow to other files are texts, too.
        try:
            head[:-4].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 8:
                return "unknown", _UNKNOWN
        return "other", f"a text that begins with {head[:24].decode('utf-8', 'replace')!r}"
    return "unknown", _UNKNOWN


def read_head(path: Path) -> bytes:
    """The first 512 bytes of a regular file.

    Raises:
        SourceError: if it is missing, unreadable or no regular file.
    """
    if path.exists() and not path.is_file():
        raise SourceError(f"{path} is no regular file. Give a file, or a camera as camera:N.")
    try:
        with path.open("rb") as file:
            return file.read(512)
    except FileNotFoundError as error:
        raise SourceError(f"The file {path} does not exist (any more). Check the path.") from error
    except OSError as error:
        raise SourceError(
            f"The file {path} cannot be read: {error.strerror}. Check its permissions."
        ) from error


def kind_of_file(path: Path) -> str:
    """Say how a file is to be read: ``picture``, ``video`` or ``array``.

    What the content says comes first; where it says nothing, the ending; where that says nothing
    either, FFmpeg is asked (``video``): it knows formats without any mark.

    Raises:
        SourceError: if it is certainly none of them.
    """
    suffix = path.suffix.lower()
    kind, words = looks_like(read_head(path))
    if suffix in ARRAY_SUFFIXES:
        return "array"
    if kind in ("picture", "video", "array"):
        return kind
    if kind == "other":
        raise SourceError(
            f"The file {path} is no source of frames: it is {words}. A source is {SOURCES_HELP}."
        )
    return "picture" if suffix in PICTURE_SUFFIXES else "video"


def is_model(text: str) -> bool:
    """Whether a text names a model file: an ONNX protobuf by its first field (``ir_version``, a
    small number: onnx.proto), or a file of that ending that is not there."""
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        return True
    try:
        if not path.is_file():
            return False  # to open a pipe would wait for who writes into it
        with path.open("rb") as file:
            first = file.read(2)
    except OSError:
        return False
    return len(first) == 2 and first[0] == 0x08 and 3 <= first[1] <= 32
