"""Building ahead: what later openings find, and what the command says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeinfer import cache, compiled
from edgeinfer.artifact import open_model_file
from edgeinfer.cli import main as cli
from edgeinfer.cli.caching import size_text
from edgeinfer.compiled import shelf
from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import Opening, onnxruntime, optimized
from edgeinfer.warm import warm

MakeModel = Callable[..., Path]
CPU = LoadOptions(provider="cpu")
SPEC = {
    "schema": "edgeinfer.spec/1",
    "task": "classify",
    "head": "logits",
    "labels": ["a", "b"],
    "inputs": [
        {"name": "images", "kind": "image", "size_hw": [8, 8], "resize": "stretch", "scale": 0.01}
    ],
}
CONV = """
classifier (float[1, 3, 8, 8] images) => (float[1, 2] logits)
{
  features = Conv <kernel_shape = [8, 8]> (images, weights)
  positive = Relu(features)
  logits = Flatten(positive)
}
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for each test, for the command line, too."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEINFER_CACHE", str(folder))
    monkeypatch.setattr(cache, "_root", folder)
    yield folder
    compiled.set_bound(None)
    compiled.set_teller(compiled.silent)
    let_go()


def let_go() -> None:
    """As if the process that used the artefacts had ended."""
    for folder in compiled.held():
        shelf.let_go(folder)


@pytest.fixture
def conv(make_model: MakeModel) -> Path:
    """A classifier with a convolution whose weights are larger than a kilobyte."""
    path = make_model(CONV.replace("{\n", "<float[2, 3, 8, 8] weights>\n{\n", 1), spec=SPEC)
    model = onnx.load(str(path))
    values = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    del model.graph.initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(values, "weights"))
    path.write_bytes(model.SerializeToString())
    return path


def kinds(document: dict[str, Any], built: bool) -> list[str]:
    return [item["kind"] for item in document["artefacts"] if item["built"] is built]


class TestOptimizedGraphs:
    def open(self, path: Path, **said: Any) -> tuple[Path, Any]:
        ort = onnxruntime()
        opening = Opening(path=path, threads=1, sha256=open_model_file(path).sha256, **said)
        settings = ort.SessionOptions()
        return optimized.graph_for(ort, opening, settings), settings

    def test_an_opening_takes_one_only_after_it_was_built_ahead(self, conv: Path) -> None:
        assert self.open(conv)[0] == conv
        with optimized.ahead():
            taken, _ = self.open(conv)
        again, settings = self.open(conv)
        assert taken == again != conv
        levels = onnxruntime().GraphOptimizationLevel
        assert settings.graph_optimization_level == levels.ORT_DISABLE_ALL

    def test_openings_that_it_does_not_fit_do_not_take_it(self, conv: Path) -> None:
        with optimized.ahead():
            self.open(conv)
            assert self.open(conv, options={"graph_optimization_level": "basic"})[0] == conv
            assert self.open(conv, max_cpu_nodes=3)[0] == conv

    @pytest.mark.parametrize("part", ["sha256", "onnxruntime", "architecture", "processor"])
    def test_every_part_of_its_key_counts(
        self, conv: Path, part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with optimized.ahead():
            self.open(conv)
        ort = onnxruntime()
        opening = Opening(path=conv, threads=1, sha256=open_model_file(conv).sha256)
        key = optimized._key(ort, opening)
        assert compiled.find(optimized.KIND, key) is not None
        assert part in key
        assert compiled.find(optimized.KIND, {**key, part: key[part] + "x"}) is None

    def test_one_that_computes_something_else_is_not_kept(
        self, conv: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(optimized, "_equal", lambda mine, theirs: False)
        with optimized.ahead():
            assert self.open(conv)[0] == conv
        assert compiled.artefacts() == []

    def test_results_and_description_are_those_of_the_file(self, conv: Path) -> None:
        frame = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)
        with open_model(conv, CPU) as model:
            plain, description, served = model.raw(frame), model.spec, model.served
        warm(conv, CPU)
        with open_model(conv, CPU) as model:
            assert model.spec == description and model.served.placement is not None
            assert model.served.compute_precision == served.compute_precision
            assert model.served.placement.stage == "optimized"
            np.testing.assert_array_equal(model.raw(frame)["logits"], plain["logits"])

    def test_a_model_with_external_weights_is_optimized_too(self, conv: Path) -> None:
        path = conv.with_name("external.onnx")
        model = onnx.load(str(conv))
        onnx.save(model, str(path), save_as_external_data=True, size_threshold=0)
        assert kinds(warm(path, CPU).to_dict(), built=True) == [optimized.KIND]


class TestWarm:
    def test_it_builds_once_and_then_finds(self, conv: Path) -> None:
        first = warm(conv, CPU).to_dict()
        assert kinds(first, built=True) == [optimized.KIND] and first["vetted"]
        second = warm(conv, CPU).to_dict()
        assert kinds(second, built=False) == [optimized.KIND] and not second["vetted"]
        assert kinds(second, built=True) == []

    def test_a_damaged_artefact_counts_as_built(self, conv: Path) -> None:
        warm(conv, CPU)
        (item,) = compiled.artefacts()
        let_go()
        (item.path / "optimized.onnx").write_bytes(b"damaged")
        assert kinds(warm(conv, CPU).to_dict(), built=True) == [optimized.KIND]

    def test_preprocessing_in_the_graph_is_built_ahead_too(self, conv: Path) -> None:
        options = LoadOptions(provider="cpu", preprocess="graph")
        assert "embedded" in kinds(warm(conv, options).to_dict(), built=True)
        before = {item.path for item in compiled.artefacts()}
        with open_model(conv, options):
            assert {item.path for item in compiled.artefacts()} == before

    def test_a_cache_that_refuses_is_an_error_here_and_nowhere_else(
        self, conv: Path, root: Path
    ) -> None:
        (root / "1").mkdir(parents=True)
        (root / "1" / "compiled").touch()
        with open_model(conv, CPU) as model:
            assert model.served.provider == "cpu"
        with pytest.raises(EdgeInferError, match="EDGEINFER_CACHE"):
            warm(conv, CPU)


class TestCommand:
    def test_json_says_what_was_built_how_large_and_how_long(
        self, conv: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["warm", str(conv), "--provider", "cpu", "--format", "json"]
        assert cli.main(command) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert found["schema"] == "edgeinfer.warm/1" and found["provider"] == "cpu"
        (item,) = found["artefacts"]
        assert item["built"] and item["size"] > 0 and item["built_ns"] > 0
        assert found["cache"]["bytes"] == item["size"]
        assert "built the onnxruntime-graph artefact" in err

    def test_text_lists_and_clears(
        self, conv: Path, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["warm", str(conv), "--provider", "cpu"]) == 0
        assert "onnxruntime-graph" in capsys.readouterr().out
        assert cli.main(["warm", "--clear"]) == 0
        assert "cannot be deleted: 1" in capsys.readouterr().out
        let_go()
        assert cli.main(["warm", "--list"]) == 0
        out = capsys.readouterr().out
        assert open_model_file(conv).sha256[:12] in out and str(root) in out
        assert cli.main(["warm", "--clear"]) == 0
        assert compiled.artefacts() == []

    @pytest.mark.parametrize("arguments", [[], ["--list", "--clear"], ["model.onnx", "--list"]])
    def test_one_thing_at_a_time(self, arguments: list[str]) -> None:
        assert cli.main(["warm", *arguments]) == 2

    def test_a_missing_model_and_a_bad_bound_have_their_exit_codes(
        self, conv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["warm", str(conv) + "x"]) == 1
        monkeypatch.setenv("EDGEINFER_CACHE_BYTES", "plenty")
        assert cli.main(["warm", str(conv)]) == 2
        assert "plenty" in capsys.readouterr().err

    def test_a_bound_of_zero_is_said_to_keep_nothing(
        self, conv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("EDGEINFER_CACHE_BYTES", "0")
        assert cli.main(["warm", str(conv), "--provider", "cpu"]) == 1
        assert "0 bytes" in capsys.readouterr().err

    def test_ctrl_c_leaves_nothing_half_written(
        self, conv: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(optimized, "_described", interrupted)
        assert cli.main(["warm", str(conv), "--provider", "cpu"]) == 130
        home = shelf.home()
        assert compiled.artefacts() == []
        assert [os.listdir(home / part) for part in ("building", "locks", "trash")] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4000000", 4000000), ("500M", 500 << 20), ("8GiB", 8 << 30)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert compiled.bound_of(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "8X", "1.5G", "²"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        compiled.bound_of(text)


def test_sizes_are_written_for_people() -> None:
    assert [size_text(size) for size in (12, 12_400_000, 3 * 10**9)] == [
        "12 bytes",
        "12.4 MB",
        "3 GB",
    ]
