"""The graph as ONNX Runtime's CPU provider optimized it, opened instead of the file.

Optimizing is most of what opening costs. `ahead()` makes openings write the optimized graph to the
cache; afterwards every opening of the same file, with the same ONNX Runtime on the same processor,
takes it and optimizes nothing. The weights lie in a file of their own, which ONNX Runtime maps into
memory instead of copying it, and which may be larger than the 2 GB that an ONNX file may have.
https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer import compiled
from edgeinfer.frames import Arrays
from edgeinfer.machine import this_machine
from edgeinfer.providers.base import Opening

KIND = "onnxruntime-graph"
_GRAPH, _WEIGHTS = "optimized.onnx", "optimized.weights"
# Smaller tensors stay in the graph (ONNX Runtime's own bound is the same).
_SMALLEST_WEIGHT = "1024"
_ahead: ContextVar[bool] = ContextVar("edgeinfer-optimize-ahead", default=False)


class _Unfit(Exception):
    """The optimized graph does not compute what the file computes."""


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Inside, openings build what later ones take, where it is not there yet."""
    token = _ahead.set(True)
    try:
        yield
    finally:
        _ahead.reset(token)


def is_ahead() -> bool:
    """Whether openings are to build what later ones take."""
    return _ahead.get()


def graph_for(ort: Any, opening: Opening, settings: Any) -> Path:
    """The file to hand to ONNX Runtime: the optimized graph if it is there, else the model itself.

    Args:
        ort: ONNX Runtime.
        settings: the `SessionOptions` of the opening; told not to optimize again.
    """
    # Options change how a graph is optimized; a limit on nodes counts those of the file.
    if not opening.sha256 or opening.options or opening.max_cpu_nodes is not None:
        return opening.path
    key = _key(ort, opening)
    folder = compiled.find(KIND, key)
    if folder is None and is_ahead():
        with contextlib.suppress(_Unfit):
            folder = compiled.obtain(KIND, key, lambda inside: _build(ort, opening, inside))
    if folder is None:
        return opening.path
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return folder / _GRAPH


def _key(ort: Any, opening: Opening) -> Mapping[str, str]:
    """What the optimized graph depends on: layouts are chosen for the processor's vectors."""
    machine = this_machine()
    return {
        "sha256": opening.sha256,
        "onnxruntime": f"{ort.__version__} {ort.get_build_info()}",
        "architecture": platform.machine(),
        "processor": f"{machine.cpu} {' '.join(machine.features)}",
    }


def _build(ort: Any, opening: Opening, folder: Path) -> None:
    """Write the optimized graph, open it, and hold its outputs against the file's.

    Raises:
        _Unfit: where it cannot be written, or computes something else.
    """
    writing, reading = _settings(ort, opening), _settings(ort, opening)
    writing.optimized_model_filepath = str(folder / _GRAPH)
    entries = {"file_name": _WEIGHTS, "min_size_in_bytes": _SMALLEST_WEIGHT}
    for name, value in entries.items():
        writing.add_session_config_entry(
            f"session.optimized_model_external_initializers_{name}", value
        )
    reading.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        plain = _open(ort, opening.path, writing)
        optimized = _open(ort, folder / _GRAPH, reading)
        feed = _feed(plain, opening)
        pairs = zip(plain.run(None, feed), optimized.run(None, feed), strict=True)
        same = all(_equal(mine, theirs) for mine, theirs in pairs)
        same &= _described(plain) == _described(optimized)
    except Exception as error:
        raise _Unfit(str(error)) from error
    if not same:
        raise _Unfit("it computes something else")


def _settings(ort: Any, opening: Opening) -> Any:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = opening.threads
    settings.inter_op_num_threads = 1
    return settings


def _open(ort: Any, path: Path, settings: Any) -> Any:
    return ort.InferenceSession(
        str(path), settings, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def _described(session: Any) -> Any:
    """What `Engine` tells of a graph."""
    tensors = [(i.name, i.type, i.shape) for i in (*session.get_inputs(), *session.get_outputs())]
    return tensors, dict(session.get_modelmeta().custom_metadata_map)


def _equal(mine: Any, theirs: Any) -> bool:
    one, other = np.asarray(mine), np.asarray(theirs)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _feed(session: Any, opening: Opening) -> Arrays:
    """Noise for float inputs, zeros for all others: an index of zero exists everywhere."""
    random = np.random.default_rng(0)
    feed = {}
    for item in session.get_inputs():
        sizes = [size if isinstance(size, int) else 1 for size in item.shape]
        shape = opening.shapes.get(item.name, tuple(sizes))
        name = item.type.removeprefix("tensor(").removesuffix(")")
        dtype = np.dtype({"float": "float32", "double": "float64"}.get(name, name))
        noise = random.random(shape) if dtype.kind == "f" else np.zeros(shape)
        feed[item.name] = noise.astype(dtype)
    return feed
