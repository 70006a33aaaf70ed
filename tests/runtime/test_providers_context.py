"""EPContext where nothing can be compiled; tests/plugins has a provider that does compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeinfer import cache, compiled
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ModelFileError, ProviderError
from edgeinfer.providers import Opening, optimized
from edgeinfer.providers.base import Keeping
from edgeinfer.providers.engine import Request, open_engine

MakeModel = Callable[..., Path]
MATMUL = "net (float[4, 4] x) => (float[4, 4] y) { y = MatMul(x, x) }"


@pytest.fixture(autouse=True)
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    lines: list[str] = []
    compiled.set_teller(lines.append)
    yield lines
    compiled.set_teller(compiled.silent)


def request(keeping: Keeping) -> Request:
    """ONNX Runtime's CPU provider compiles nothing: ModelCompiler says so."""
    return Request("cpu", "CPUExecutionProvider", "cpu", "", keeping=keeping)


def test_what_compiles_nothing_is_tried_once_and_opened_plain(
    make_model: MakeModel, told: list[str]
) -> None:
    path = make_model(MATMUL)
    opening = Opening(path, threads=1, sha256=open_model_file(path).sha256)
    asked = request(Keeping(at_once=True))
    for expected in (1, 0):
        told.clear()
        engine = open_engine(opening, asked)
        assert engine.served.placement.providers == {"cpu": {"MatMul": 1}}
        assert sum("compiles model.onnx anew" in line for line in told) == expected
    with optimized.ahead():
        open_engine(opening, asked)
    assert any("compiles model.onnx anew" in line for line in told)
    assert [item.kind for item in compiled.artefacts()] == ["onnxruntime-graph"]


def test_what_hardly_pays_is_not_even_tried_unless_ahead(
    make_model: MakeModel, told: list[str]
) -> None:
    path = make_model(MATMUL)
    opening = Opening(path, threads=1, sha256=open_model_file(path).sha256)
    open_engine(opening, request(Keeping(at_once=False)))
    assert told == []


def test_minutes_need_a_yes(make_model: MakeModel) -> None:
    path = make_model(MATMUL)
    file = open_model_file(path)
    opening = Opening(path, threads=1, sha256=file.sha256, build=False)
    with pytest.raises(ProviderError, match=r"takes minutes.*edgeinfer warm .* --provider cpu"):
        open_engine(opening, request(Keeping(at_once=True, slow=True)))


def test_a_model_that_does_not_open_is_no_fault_of_the_cache(
    tmp_path: Path, told: list[str]
) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x09\x12\x04")
    opening = Opening(path, threads=1, sha256="0" * 64)
    with pytest.raises(ModelFileError, match=r"cut\.onnx"):
        open_engine(opening, request(Keeping(at_once=True)))
    assert not any("anew" in line for line in told)
    assert cache.recall("contexts-unfit", "x") is None
    assert not list((tmp_path / "cache").rglob("contexts-unfit/*"))
