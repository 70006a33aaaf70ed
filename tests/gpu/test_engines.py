"""TensorRT engines: built once, kept by content, never built where nobody allowed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import compiled
from edgeinfer.errors import ProviderError
from edgeinfer.frames import Array
from edgeinfer.model import LoadOptions, open_model

Make = Callable[..., Path]
Provider = Callable[[str], str]
pytestmark = pytest.mark.timeout(1800)


def engines() -> dict[Path, dict[str, int]]:
    """Every finished engine's folder, and when its files were written."""
    return {
        one.path: {file.name: file.stat().st_mtime_ns for file in one.path.iterdir()}
        for one in compiled.artefacts()
        if one.kind == "tensorrt"
    }


def test_an_engine_is_built_once_and_used_again(
    provider: Provider, model: Make, picture: Array, own_cache: Path
) -> None:
    path = model("mobilenet-v2-like")
    asked = LoadOptions(provider("tensorrt"), use_plan=False)
    with open_model(path, asked) as running:
        first = running.raw(picture)["logits"]
    built = engines()
    assert len(built) == 1
    assert any(name.endswith(".engine") for name in next(iter(built.values())))
    not_built = LoadOptions("tensorrt", use_plan=False, build=False)
    with open_model(path, not_built) as running:
        second = running.raw(picture)["logits"]
    assert list(engines()) == list(built)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_without_an_engine_opening_is_refused_where_none_may_be_built(
    provider: Provider, model: Make, own_cache: Path
) -> None:
    asked = LoadOptions(provider("tensorrt"), use_plan=False, build=False)
    with pytest.raises(ProviderError, match="edgeinfer warm"):
        open_model(model("mobilenet-v2-like"), asked)
    assert engines() == {}


def test_another_option_is_another_engine(
    provider: Provider, model: Make, picture: Array, own_cache: Path
) -> None:
    path = model("mobilenet-v2-like")
    plain = LoadOptions(provider("tensorrt"), use_plan=False)
    quick = LoadOptions(
        "tensorrt", provider_options={"trt_builder_optimization_level": "1"}, use_plan=False
    )
    for asked in (plain, quick):
        with open_model(path, asked) as running:
            running(picture)
    assert len(engines()) == 2


def test_a_damaged_engine_costs_time_only(
    provider: Provider, model: Make, picture: Array, own_cache: Path
) -> None:
    path = model("mobilenet-v2-like")
    asked = LoadOptions(provider("tensorrt"), use_plan=False)
    with open_model(path, asked) as running:
        before = running.raw(picture)["logits"]
    (folder,) = engines()
    engine = next(folder.glob("*.engine"))
    engine.chmod(0o644)
    engine.write_bytes(engine.read_bytes()[:1000])
    with open_model(path, asked) as running:
        after = running.raw(picture)["logits"]
    np.testing.assert_allclose(before, after, atol=1e-3)


def test_half_precision_is_by_choice_and_said(
    provider: Provider, model: Make, picture: Array, own_cache: Path
) -> None:
    options = {"trt_fp16_enable": "1"}
    asked = LoadOptions(provider("tensorrt"), provider_options=options, use_plan=False)
    with open_model(model("mobilenet-v2-like"), asked) as running:
        assert running(picture).served.compute_precision == "fp16"


def test_the_plugin_opens_what_it_compiled_before(
    provider: Provider, model: Make, picture: Array, own_cache: Path
) -> None:
    """TensorRT-RTX keeps its engine as EPContext (tests/plugins runs the same path anywhere)."""
    path = model("mobilenet-v2-like")
    asked = LoadOptions(provider("tensorrt-rtx"), use_plan=False)
    said = []
    for _ in range(2):
        with open_model(path, asked) as running:
            assert running.served.placement.providers["tensorrt-rtx"].keys() == {"EPContext"}
            said.append(running.raw(picture)["logits"])
    (kept,) = compiled.artefacts()
    assert kept.kind == "onnxruntime-context"
    np.testing.assert_allclose(said[0], said[1], atol=1e-3)
