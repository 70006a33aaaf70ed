"""Keep what ONNX Runtime's quantizer prints and logs away from the user."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


class _NotTheQuantizers(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop the quantizer's log records, prints and warnings; everybody else's stay.

    It logs through the root logger ("Please consider to run pre-processing before quantization"),
    whose first use would also install a handler for the whole process.
    """
    root = logging.getLogger()
    handler, drop = logging.NullHandler(), _NotTheQuantizers()
    root.addHandler(handler)
    root.addFilter(drop)
    named = logging.getLogger("onnxruntime")
    level, named.level = named.level, logging.CRITICAL + 1
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        named.level = level
        root.removeFilter(drop)
        root.removeHandler(handler)
