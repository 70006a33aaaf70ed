"""Numpy's OpenBLAS, told to let its threads sleep when they are idle.

They spin for 2**26 processor cycles, some 30 ms, after numpy was imported and after every product:
on the processors that inference, decoding or the vetting of a model wants then. On two processors
the first opening of a model took 70 ms longer by that.
https://github.com/OpenMathLib/OpenBLAS/blob/develop/docs/runtime_variables.md

This is the one place that writes to the environment: OpenBLAS takes it from nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType

_NAME = "OPENBLAS_THREAD_TIMEOUT"
# The least that OpenBLAS takes: an exponent of two, in cycles.
VARIABLES: Mapping[str, str] = MappingProxyType({_NAME: "4"})


def import_numpy() -> None:
    """Import numpy that way, unless somebody imported it before or said otherwise.

    OpenBLAS reads the variable when it is loaded; afterwards it is as it was. Where other threads
    run, which may read the environment or start processes, it stays as it is.
    """
    if "numpy" in sys.modules or _NAME in os.environ:
        return
    threads = sys.modules.get("threading")
    if threads is not None and threads.active_count() > 1:
        return
    os.environ.update(VARIABLES)
    try:
        import numpy  # noqa: F401
    finally:
        os.environ.pop(_NAME, None)
