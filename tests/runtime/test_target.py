"""Files that were quantized for another kind of box are refused by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli.main import main
from edgeinfer.errors import SpecError
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, model, open_model, why_unfit

MakeModel = Callable[..., Path]
NET = """
net (float[1, 3, 4, 4] images) => (float[1, 3, 4, 4] out) { out = Relu(images) }
"""
PLAIN = dataclasses.replace(this_machine(), architecture="x86_64", features=("avx2",))
VNNI = dataclasses.replace(PLAIN, features=("avx2", "avx_vnni"))
ARM = dataclasses.replace(PLAIN, architecture="aarch64", features=())


@pytest.mark.parametrize(
    ("target", "provider", "machine", "fits"),
    [
        (None, "cpu", PLAIN, True),
        ("x86-any", "cpu", PLAIN, True),
        ("x86-any", "cpu", ARM, True),
        ("x86-vnni", "cpu", PLAIN, False),
        ("x86-vnni", "cpu", VNNI, True),
        ("x86-vnni", "cpu", ARM, True),
        ("arm", "cpu", ARM, True),
        ("arm", "cpu", VNNI, False),
        ("tensorrt", "cpu", VNNI, False),
        ("tensorrt", "cuda", VNNI, True),
        ("openvino", "cpu", VNNI, False),
        ("openvino", "openvino", VNNI, True),
    ],
)
def test_a_target_fits_some_boxes(target, provider, machine, fits) -> None:
    assert (why_unfit(target, provider, machine) is None) is fits


@pytest.fixture
def quantized(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model, "this_machine", lambda: PLAIN)
    return make_model(
        NET,
        spec={
            "schema": "edgeinfer.spec/1",
            "task": "tensor",
            "head": "tensor",
            "inputs": [{"name": "images", "kind": "image", "size_hw": [4, 4]}],
            "target": "x86-vnni",
        },
    )


def test_load_refuses_a_file_for_another_box(quantized: Path) -> None:
    with pytest.raises(SpecError, match="x86-vnni.*no VNNI.*--target"):
        edgeinfer.load(quantized)


def test_the_refusal_can_be_overridden(quantized: Path, tmp_path: Path) -> None:
    override = tmp_path / "spec.json"
    override.write_text(json.dumps({"target": None}))
    with open_model(quantized, LoadOptions(spec=override)) as opened:
        assert opened(np.zeros((4, 4, 3), np.uint8)).task == "tensor"


def test_run_says_it_in_one_message(quantized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(quantized), "synthetic", "--frames", "1"]) == 1
    assert "was quantized for x86-vnni" in capsys.readouterr().err
