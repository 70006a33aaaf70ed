"""From a description of a program to a checked graph: what all of torch's readers do."""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import CheckFailed, EdgeInferError, ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources import onnx as onnx_files
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.torch_tools.remote import Worker
from edgeinfer_export.sources.torch_tools.tidy import open_outputs, tidy
from edgeinfer_export.steps.verify import check_fp32, parity

# Mean and spread of the noise: both signs and other sizes, so that a branch that tracing fixed is
# found out.
_LEVELS = ((0.0, 1.0), (1.0, 0.5), (-1.0, 0.5), (0.0, 4.0))
_TITLES = {"dynamo": "the dynamo exporter", "torchscript": "the TorchScript exporter"}


class TorchReference:
    """The program itself, in the child that converted it."""

    def __init__(self, worker: Worker, opened: Mapping[str, Any], folder: Path) -> None:
        self._worker = worker
        self._folder = folder
        self._inputs: list[str] = [item["name"] for item in opened["inputs"]]
        self.name = f"torch {opened['versions']['torch']}"
        self.outputs: Sequence[str] = tuple(opened["outputs"])

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            ModelFileError: if the program cannot be run on these inputs.
        """
        given, found = self._folder / "torch-in.npz", self._folder / "torch-out.npz"
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise ModelFileError(f"The source needs the input '{missing[0]}', which is not given.")
        np.savez(given, *[inputs[name] for name in self._inputs])
        self._worker.ask({"do": "run", "inputs": str(given), "outputs": str(found)})
        with np.load(found, allow_pickle=False) as loaded:
            return {name: loaded[f"arr_{n}"] for n, name in enumerate(self.outputs)}


@dataclass(frozen=True)
class _Samples:
    """Noise of the shapes that the program was made with, and of others where it is open."""

    inputs_of: tuple[dict[str, Array], ...]
    kind: str = "random"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs_of)

    def inputs(self, index: int) -> dict[str, Array]:
        return self.inputs_of[index]


def read_program(
    request: Request, job: Mapping[str, Any], framework: str, sha256: str
) -> SourceModel:
    """Open a program in a child, convert it there, and hold the graph against it.

    Args:
        job: what the child's ``open`` takes besides what the request says.
        framework: name in `SOURCES`.
        sha256: of the source's files.

    Raises:
        ModelFileError: if it cannot be read, or no exporter converts it.
        UsageError: if an option is missing or does not fit.
        MissingPackageError: if torch is not installed.
    """
    worker = Worker(request.trust_pickle, request.say)
    try:
        opened = worker.ask(
            {
                "do": "open",
                "path": str(request.path.resolve()),
                "shapes": {name: list(shape) for name, shape in request.input_shapes.items()},
                "trust": request.trust_pickle,
                **job,
            }
        )
        reference = TorchReference(worker, opened, request.folder)
        loaded, exporter, notes = _convert(request, worker, opened, reference)
    except BaseException:
        worker.close()
        raise
    weakref.finalize(reference, worker.close)
    digest = hashlib.sha256(f"{sha256}{opened['sha256']}".encode()).hexdigest()
    return SourceModel(
        model=loaded.model,
        path=loaded.path,
        sha256=digest if opened["sha256"] else sha256,
        framework=framework,
        reference=reference,
        provenance={**opened["versions"], "exporter": exporter},
        notes=(*opened["notes"], *notes),
        spec=opened["spec"],
        shapes=_sizes(loaded, opened),
    )


def _convert(
    request: Request, worker: Worker, opened: Mapping[str, Any], reference: TorchReference
) -> tuple[SourceModel, str, tuple[str, ...]]:
    """The first exporter whose graph computes what the program does, and who failed before it."""
    failed: dict[str, EdgeInferError] = {}
    for exporter in opened["exporters"]:
        title = _TITLES[exporter]
        request.say(f"converting with {title}")
        made = request.folder / f"{exporter}.onnx"
        try:
            fixed = worker.ask({"do": "convert", "exporter": exporter, "to": str(made)})["notes"]
            loaded = _load(request, made, opened)
            figures = parity(reference, made, _samples(loaded, opened, reference))
            check_fp32(figures)
        except (ModelFileError, CheckFailed) as error:
            failed[title] = error
            continue
        notes = tuple(f"{title} does not convert this model: {e}" for title, e in failed.items())
        return loaded, exporter, (*notes, f"converted with {title}", *fixed)
    reasons = " ".join(f"With {title}: {error}" for title, error in failed.items())
    kind = CheckFailed if all(isinstance(e, CheckFailed) for e in failed.values()) else None
    what = request.path if request.entry is None else f"what {request.entry} builds"
    raise (kind or ModelFileError)(f"PyTorch cannot convert {what} to ONNX. {reasons}")


def _load(request: Request, made: Path, opened: Mapping[str, Any]) -> SourceModel:
    """The graph that an exporter wrote, tidied, and vetted as any other file is."""
    import onnx

    asked = request.input_shapes if opened["fixed"] else {}
    model = tidy(onnx.load(str(made)), asked)
    made.write_bytes(model.SerializeToString(deterministic=True))
    loaded = onnx_files.open_graph(dataclasses.replace(request, path=made))
    _check_inputs(loaded, opened)
    return loaded


def _check_inputs(loaded: SourceModel, opened: Mapping[str, Any]) -> None:
    """Refuse a graph that lost an input, or closed a dimension that was to stay open."""
    found = _dims(loaded)
    for item in opened["inputs"]:
        name = item["name"]
        if name not in found:
            raise ModelFileError(
                f"Its graph lacks the input '{name}': the program does not use it, or the exporter "
                f"took its value for a constant."
            )
        for axis, (wanted, dim) in enumerate(zip(item["dims"], found[name], strict=True)):
            if isinstance(wanted, str) and isinstance(dim, int):
                raise ModelFileError(
                    f"The dimension '{wanted}' (axis {axis}) of the input '{name}' was to stay "
                    f"open, but the exporter fixed it at {dim}: the program's code depends on its "
                    f"size. Give a number in its place."
                )


def _samples(loaded: SourceModel, opened: Mapping[str, Any], reference: TorchReference) -> _Samples:
    """Inputs of the sizes that the program was made with; where dimensions are open, other sizes
    too, as far as the program itself takes them."""
    sizes = _sizes(loaded, opened)
    made = [_noise(opened, sizes, seed) for seed in range(len(_LEVELS))]
    for more in (1, 32):
        grown = _grown(loaded, sizes, more)
        if grown == sizes:
            break
        other = _noise(opened, grown, 0)
        try:
            outputs = {name: array.shape for name, array in reference.run(other).items()}
        except ModelFileError:
            continue
        made.append(other)
        if open_outputs(loaded.model, grown, outputs):
            loaded.path.write_bytes(loaded.model.SerializeToString(deterministic=True))
        break
    return _Samples(tuple(made))


def _dims(loaded: SourceModel) -> dict[str, list[int | str]]:
    return {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in loaded.model.graph.input
    }


def _sizes(loaded: SourceModel, opened: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Sizes at which the program is known to run; those that the user fixed go first."""
    found = {}
    dims = _dims(loaded)
    for item in opened["inputs"]:
        pairs = zip(dims[item["name"]], item["example"], strict=True)
        found[item["name"]] = tuple(
            fixed if isinstance(fixed, int) else size for fixed, size in pairs
        )
    return found


def _grown(
    loaded: SourceModel, sizes: Mapping[str, tuple[int, ...]], more: int
) -> dict[str, tuple[int, ...]]:
    """The same with every open dimension larger; equal names grow alike."""
    dims = _dims(loaded)
    return {
        name: tuple(
            size if isinstance(dim, int) else size + more
            for dim, size in zip(dims[name], shape, strict=True)
        )
        for name, shape in sizes.items()
    }


def _noise(
    opened: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]], seed: int
) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    level, width = _LEVELS[seed]
    made: dict[str, Array] = {}
    for item in opened["inputs"]:
        name, dtype = item["name"], np.dtype(item["dtype"])
        if dtype.kind == "f":
            made[name] = (level + width * random.standard_normal(sizes[name])).astype(dtype)
        else:
            made[name] = random.integers(0, 2, sizes[name]).astype(dtype)
    return made


def hash_files(paths: Iterable[Path]) -> str:
    """Hash of one file; of several, of their names and hashes.

    Raises:
        ModelFileError: if one cannot be read.
    """
    found = []
    for path in paths:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error
        found.append((path.name, digest.hexdigest()))
    if len(found) == 1:
        return found[0][1]
    text = "".join(f"{name}\0{value}\n" for name, value in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()
