"""The Python that runs."""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok

# requires-python of pyproject.toml.
_OLDEST = (3, 10)
_NAME = "python"


def check(box: Box) -> Iterator[Finding]:
    """Version, word size, and whether packages go into an environment of their own."""
    version = platform.python_version()
    bits = 64 if sys.maxsize > 1 << 32 else 32
    if sys.version_info[:2] < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        yield fail(
            _NAME,
            f"{version} is too old",
            f"install Python {oldest} or newer, in a venv of its own",
        )
        return
    if bits == 32:
        yield fail(
            _NAME,
            f"{version} is a 32 bit build, for which there is no onnxruntime wheel",
            "install a 64 bit system (Raspberry Pi OS comes in both) and its Python",
        )
        return
    own = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in box.environment
    where = "in an environment of its own" if own else "the system's own"
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"  # PEP 668
    if not own and marker.exists():
        where += ", into which pip does not install: python3 -m venv --system-site-packages ~/edge"
    yield ok(_NAME, f"{version}, {bits} bit, {where}: {sys.executable}")
