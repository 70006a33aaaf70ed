"""Tiny models, built as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write a model given as ONNX text; `spec` and `metadata` go into its metadata."""

    def make(
        text: str,
        name: str = "model.onnx",
        spec: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        header = '<ir_version: 8, opset_import: ["" : 13]>\n'
        model = onnx.parser.parse_model(text if text.lstrip().startswith("<") else header + text)
        entries = dict(metadata or {})
        if spec is not None:
            entries["edgeinfer.spec"] = json.dumps(spec)
        for key, value in entries.items():
            item = model.metadata_props.add()
            item.key, item.value = key, value
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return make


@pytest.fixture
def brightness_model(make_model: MakeModel) -> Path:
    """Logits over two classes: [brightness, 0.5] of an 8x8 picture scaled to [0, 1]."""
    return make_model(
        """
        classifier (float[1, 3, 8, 8] images) => (float[1, 2] logits)
        <float[2, 1] w = {1, 0}, float[2] b = {0, 0.5}>
        {
          mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (images)
          shape = Constant <value = int64[2] {1, 1}> ()
          column = Reshape(mean, shape)
          logits = Gemm <transB = 1> (column, w, b)
        }
        """,
        spec={
            "schema": "edgeinfer.spec/1",
            "task": "classify",
            "head": "logits",
            "labels": ["bright", "dark"],
            "inputs": [
                {
                    "name": "images",
                    "kind": "image",
                    "size_hw": [8, 8],
                    "resize": "stretch",
                    "color": "rgb",
                    "scale": 1 / 255,
                }
            ],
        },
    )
