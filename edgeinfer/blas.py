"""Numpy's OpenBLAS, told to let its threads sleep when they are idle.

They spin for 2**26 processor cycles, some 30 ms, after numpy was imported and after every product:
on the processors that inference, decoding or the vetting of a model wants then. On two processors
the first opening of a model took 70 ms longer by that.
https://github.com/OpenMathLib/OpenBLAS/blob/develop/docs/runtime_variables.md
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

    OpenBLAS reads the variable when it is loaded; afterwards it is as it was.
    """
    if "numpy" in sys.modules or _NAME in os.environ:
        return
    os.environ.update(VARIABLES)
    try:
        import numpy  # noqa: F401
    finally:
        os.environ.pop(_NAME, None)
