"""Models, and providers that are skipped with the reason where they cannot run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import cache
from edgeinfer.frames import Array
from edgeinfer.providers import PROVIDERS
from edgeinfer.providers.nvidia import devices
from edgeinfer.sources import open_source
from edgeinfer_bench.models import model_file

# What setup.sh was told must run here.
EXPECTED = os.environ.get("EDGEINFER_GPU_EXPECT", "").split()
NEEDED = os.environ.get("EDGEINFER_TEST_ENVIRONMENT") == "gpu"

Make = Callable[..., Path]
Provider = Callable[[str], str]


@pytest.fixture
def provider() -> Provider:
    """Gives a provider's name back where it can run; else the test is skipped, or fails where the
    provider must run."""

    def give(name: str) -> str:
        shown = devices()
        reason = shown if isinstance(shown, str) else PROVIDERS[name].why_unavailable(None)
        if reason is None:
            return name
        if name in EXPECTED:
            pytest.fail(f"'{name}' must run here: {reason}")
        if NEEDED:
            pytest.skip(f"'{name}' was not asked for: {reason}")
        if isinstance(shown, str):
            pytest.skip(f"no NVIDIA GPU: {reason}")
        pytest.skip(f"no NVIDIA GPU provider '{name}': {reason}")

    return give


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A benchmark model by name, built once."""
    folder = tmp_path_factory.mktemp("models")

    def make(name: str, size: int | None = None) -> Path:
        return model_file(name, folder, size)

    return make


@pytest.fixture
def picture() -> Array:
    """`(720, 1280, 3)` uint8 BGR with something on it."""
    source = open_source("synthetic:1280x720")
    taken = np.array(next(source).data)
    source.close()
    return taken


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[Path]:
    """A cache in which nothing is compiled yet."""
    before = cache.root().parent
    cache.set_root(tmp_path / "cache")
    yield tmp_path / "cache"
    cache.set_root(before)
