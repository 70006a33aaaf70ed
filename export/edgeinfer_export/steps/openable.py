"""A copy of a model that this box opens, whatever kind of box the model is for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.artifact import open_model_file
from edgeinfer.providers import runtime_version, vouch
from edgeinfer.spec import ModelSpec
from edgeinfer_export.steps.stamp import stamp
from edgeinfer_export.steps.write import write_model

if TYPE_CHECKING:
    import onnx


def write_openable(model: onnx.ModelProto, spec: ModelSpec, path: Path, base: Path) -> Path:
    """Write a model of this process that names no target.

    Args:
        model: stamped anew.
        spec: what it means.
        base: the folder that its tensors in other files are relative to.
    """
    stamp(model, dataclasses.replace(spec, target=None))
    written = write_model(model, path, base)[-1]
    vouch(open_model_file(written), runtime_version())
    return written
