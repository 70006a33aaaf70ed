"""Tiny models, built as text."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

MakeModel = Callable[..., Path]


class Family:
    """The processes that descend from one, by /proc."""

    @staticmethod
    def of(pid: int) -> set[int]:
        """Its children, their children, and so on."""
        parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*/stat"))))
        found: set[int] = set()
        while more := {one for one, parent in parents.items() if parent in {pid, *found}} - found:
            found |= more
        return found

    @staticmethod
    def gone(pids: Iterable[int], within_s: float = 30.0) -> bool:
        """Whether all of them have ended, or do so soon; a dead one that nobody reaped counts."""
        until = time.monotonic() + within_s
        while left := [pid for pid in pids if _parent(Path(f"/proc/{pid}/stat"))]:
            if time.monotonic() > until:
                return not left
            time.sleep(0.01)
        return True


def _parent(stat: Path) -> tuple[int, int] | None:
    """A living process and its parent."""
    with contextlib.suppress(OSError):
        # pid (name, which may hold anything) state ppid ...
        state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        return None if state in "ZX" else (int(stat.parent.name), int(parent))
    return None


@pytest.fixture
def family() -> Family:
    return Family()


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
