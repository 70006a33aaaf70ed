"""Results as JSON lines, one per frame (schema ``edgeinfer.frame/1``)."""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

from edgeinfer.errors import EdgeInferError, SinkError
from edgeinfer.files import GrowingText, append_line
from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer.sinks.base import ReaderGone


class JsonLines:
    """Writes a line per result, at once readable; an error becomes a line with the key ``error``.

    Args:
        target: a path (an older file there stays until the first line), or an open text stream,
            which is flushed and never closed.

    Raises:
        SinkError: if no file can be created there.
    """

    needs_pixels = False

    def __init__(self, target: Path | TextIO) -> None:
        self._file = GrowingText(target) if isinstance(target, Path) else None
        self._stream = None if isinstance(target, Path) else target
        # The file beneath a stream: from it what was not written whole can be taken back.
        raw = getattr(getattr(target, "buffer", None), "raw", None)
        self._beneath = raw if isinstance(raw, FileIO) else None

    def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
        """Raises:
        SinkError: if it cannot be written.
        ReaderGone: if the stream's reader is gone.
        """
        self._line(result.to_dict())

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        schema = "edgeinfer.frame/1"
        self._line({"schema": schema, "source": stream, "frame": index, "error": str(error)})

    def _line(self, data: dict[str, Any]) -> None:
        line = json.dumps(data, allow_nan=False)
        if self._file is not None:
            self._file.write_line(line)
            return
        assert self._stream is not None
        try:
            self._stream.flush()
            if self._beneath is not None:
                append_line(self._beneath, line)
            else:
                self._stream.write(line + "\n")
                self._stream.flush()
        except BrokenPipeError as error:
            raise ReaderGone("Nobody reads the JSON lines any more.") from error
        except (OSError, ValueError) as error:
            raise SinkError(f"The JSON lines cannot be written: {error}.") from error

    def close(self, *, complete: bool) -> None:
        if self._file is not None:
            self._file.close()
