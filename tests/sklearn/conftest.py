"""Estimators trained on scikit-learn's own data sets; nothing here needs a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("EDGEINFER_TEST_ENVIRONMENT") != "sklearn":
    # `make test-sklearn` runs them, in an environment of their own.
    collect_ignore_glob = ["test_*.py"]

Save = Callable[[Any, str], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write an estimator as people do, by the ending of the name."""

    def write(estimator: Any, name: str) -> Path:
        import joblib
        import skops.io

        path = tmp_path / name
        if name.endswith(".skops"):
            skops.io.dump(estimator, path)
        else:
            joblib.dump(estimator, path, compress=3 if ".gz" in name else 0)
        return path

    return write
