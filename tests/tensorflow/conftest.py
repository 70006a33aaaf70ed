"""Models made in TensorFlow's room, once for all tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.toolrooms import Room, open_room

HERE = Path(__file__).parent
Open = Callable[..., SourceModel]


@pytest.fixture(scope="session")
def room() -> Room:
    """TensorFlow, in the environment that these tests run in: no room is built."""
    for package in ("tensorflow", "tf2onnx", "ai_edge_litert"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no TensorFlow here ({package}): make test-tensorflow")
    return open_room("tensorflow")


@pytest.fixture(scope="session")
def tflite(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small TFLite files: NAME.FORM.tflite."""
    folder = tmp_path_factory.mktemp("tflite")
    room.run(str(HERE / "make_tflite.py"), {"folder": str(folder)})
    return folder


@pytest.fixture(scope="session")
def models(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Keras files, SavedModels and frozen graphs."""
    folder = tmp_path_factory.mktemp("models")
    room.run(str(HERE / "make_models.py"), {"folder": str(folder)})
    return folder


@pytest.fixture
def opened(room: Room, tmp_path: Path) -> Open:
    """Open a source as `export` does."""

    def open_it(path: Path, **given: object) -> SourceModel:
        return open_source_model(Request(path=path, folder=tmp_path, **given))  # type: ignore[arg-type]

    return open_it
