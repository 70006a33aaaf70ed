"""scikit-learn estimators and pipelines, from pickles, joblib files and skops archives.

Whatever the file, it is opened in a child process, which also computes the reference.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import weakref
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.child import Child
from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer.packages import need
from edgeinfer.spec import METADATA_KEY
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.steps.shapes import settle_shapes

TITLE = "scikit-learn"

# The name of a class stands near the start of a pickle.
_LOOKED_AT = 1 << 16
_PICKLE = b"\x80"
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
# joblib's own zlib streams have no container that a module opens.
_ZLIB = b"\x78"
_LOAD_TIMEOUT_S = 600.0
_RUN_TIMEOUT_S = 120.0


def recognizes(path: Path) -> bool:
    """Whether the file is a skops archive, or a pickle that names scikit-learn; nothing is run."""
    try:
        return path.is_file() and (_is_skops(path) or b"sklearn." in _pickled(path))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile):
        return False


def _is_skops(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return "schema.json" in file.namelist()


def _pickled(path: Path) -> bytes:
    """The first bytes of a pickle, uncompressed; none where it is no pickle."""
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    for magic, opener in _OPENERS:
        if head.startswith(magic):
            with opener(path, "rb") as stream:
                head = bytes(stream.read(_LOOKED_AT))
    if head.startswith(_ZLIB):
        head = zlib.decompressobj().decompress(head, _LOOKED_AT)
    return head if head.startswith(_PICKLE) else b""


class SklearnReference:
    """The estimator in its child process; it ends with this object.

    It computes in float64, and takes numbers that the graph gets rounded to float32 as they are.
    """

    takes_unrounded = True

    def __init__(self, child: Child, folder: Path, name: str, outputs: Sequence[str]) -> None:
        self.name = name
        self.outputs = tuple(outputs)
        self._child = child
        self._folder = folder
        weakref.finalize(self, child.close)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            ModelFileError: if the estimator cannot be run on them.
        """
        asked, answer = self._folder / "asked.npz", self._folder / "answer.npz"
        named: dict[str, Any] = dict(inputs)
        np.savez(asked, **named)
        pipe = self._child.process.stdin
        assert pipe is not None
        try:
            pipe.write(b"run\n")
            pipe.flush()
        except OSError as error:
            raise ModelFileError(f"The process that ran {self.name} has ended.") from error
        said = self._child.read_line(_RUN_TIMEOUT_S)
        if said != b"done":
            raise ModelFileError(
                f"{self.name} cannot be run on these inputs: {said.decode(errors='replace')}."
            )
        with np.load(answer) as held:
            return {name: held[name] for name in self.outputs}


def open_source(request: Request) -> SourceModel:
    """Convert an estimator or a pipeline.

    Raises:
        ModelFileError: if it is missing, damaged, runs code that the user did not allow, or holds
            a step that cannot be converted.
        MissingPackageError: if scikit-learn or skl2onnx is not installed.
    """
    path = request.path
    if not path.is_file():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    for name in ("sklearn", "skl2onnx"):
        need(name)
    skops = _is_skops(path)
    if skops:
        need("skops")
    elif not request.trust_pickle:
        raise ModelFileError(
            f"{path} is a Python pickle, and opening one runs whatever code is in it. Give "
            f"--trust-pickle if you trust whoever made it (it runs in a child process, with your "
            f"rights), or save the model anew: skops.io.dump(model, 'model.skops')."
        )
    child = Child(
        "edgeinfer_export.sources.sklearn_child",
        [
            str(path.resolve()),
            str(request.folder),
            "skops" if skops else "pickle",
            "trust" if request.trust_pickle else "check",
        ],
    )
    try:
        told = _told(child, path)
        return _made(request, child, told)
    except BaseException:
        child.close()
        raise


def _told(child: Child, path: Path) -> dict[str, Any]:
    """What the child says of the model.

    Raises:
        ModelFileError: with what it could not do.
    """
    line = child.read_line(_LOAD_TIMEOUT_S)
    if not line:
        finished = child.wait(5.0)
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelFileError(
            f"The process that opened {path} ended without an answer ({last}): the file is "
            f"damaged, or was made by another version of Python or scikit-learn."
        )
    told: dict[str, Any] = json.loads(line)
    if told["error"] is not None:
        raise ModelFileError(f"{path}: {told['error']}")
    return told


def _made(request: Request, child: Child, told: Mapping[str, Any]) -> SourceModel:
    import onnx

    path = request.folder / "sklearn.onnx"
    model = onnx.load(str(path))
    settle_shapes(model, request.input_shapes)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(told["spec"]))
    path.write_bytes(model.SerializeToString(deterministic=True))
    versions = told["versions"]
    name = f"scikit-learn {versions['scikit-learn']}"
    known = Session(path).outputs
    reference = SklearnReference(child, request.folder, name, known)
    digest = hashlib.sha256()
    with request.path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return SourceModel(
        model, path, digest.hexdigest(), "sklearn", reference, dict(versions), tuple(told["notes"])
    )
