"""Where a file comes from, so that anybody can make it again: no times, no paths."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeinfer.spec import ModelSpec
from edgeinfer.version import __version__
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.sources import SourceModel

SCHEMA = "edgeinfer.provenance/1"
# What rewrites graphs on the way, whatever the source.
_TOOLS = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def provenance_of(
    source: SourceModel,
    options: ExportOptions,
    data: Calibration,
    precision: str,
    guessed: Sequence[str] = (),
    size_hw: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """What goes into the metadata under `edgeinfer.spec.PROVENANCE_KEY`.

    Args:
        options: as the user said them.
        data: what ranges were measured on; only its kind and number are told.
        precision: that the file computes in.
        guessed: what nobody said of the source, and its spec says now.
        size_hw: the input size that was asked for, if one was.
    """
    return {
        "schema": SCHEMA,
        "edgeinfer": __version__,
        "framework": source.framework,
        "source_sha256": source.sha256,
        "converters": dict(source.provenance),
        "tools": _versions(),
        "reference": None if source.reference is None else source.reference.name,
        "precision": precision,
        "options": {
            **_options(options, data),
            **({} if size_hw is None else {"input_size": "{}x{}".format(*size_hw)}),
        },
        **({"guessed": list(guessed)} if guessed else {}),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _options(options: ExportOptions, data: Calibration) -> Mapping[str, Any]:
    """The command without its paths: whose folder a file came from is nobody's business."""
    told: dict[str, Any] = {
        "precision": options.precision,
        "target": options.int8_target,
        "framework": options.framework,
        "entry": options.entry,
        "weights": options.weights is not None,
        "input_shapes": {name: list(shape) for name, shape in options.input_shapes.items()},
        "trust_pickle": options.trust_pickle,
        "calibration": None,
        "validation": options.validation is not None,
        "max_drop": options.max_drop,
        "spec": _given(options.spec),
        "task": options.task,
        "head": options.head,
        "labels": _given(options.labels),
        "embed_preprocess": options.embed_preprocess,
        "embed_nms": options.embed_nms,
    }
    if options.calibration is not None:
        told["calibration"] = {
            "kind": data.kind,
            "samples": len(data),
            "method": options.calibration_method,
        }
    return {key: value for key, value in told.items() if value not in (None, False, {})}


def _given(what: ModelSpec | Path | None) -> dict[str, str]:
    """A file by its name and hash; a spec that lies in no file by the hash of its JSON."""
    if what is None:
        return {}
    if isinstance(what, Path):
        # A pipe gave what it had to whoever read it first.
        known = what.is_file() and {"sha256": hashlib.sha256(what.read_bytes()).hexdigest()}
        return {"file": what.name, **(known or {})}
    text = json.dumps(what.to_dict(), sort_keys=True, separators=(",", ":"))
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
