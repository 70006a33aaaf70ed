"""What a reader of trained models is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeinfer.frames import Array

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | str, ...]
# What is done, how much of it, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """A trained model to be read.

    Attributes:
        path: the file or folder that the user named; it may not exist.
        folder: for files that are needed until the export ends; empty, and gone afterwards.
        weights: a file of weights, for sources whose program and weights are apart.
        entry: ``module:callable`` that builds the program.
        input_shapes: input name to shape; a name in place of a number leaves that dimension open.
        trust_pickle: whether the user allows code inside the file to run.
        say: told what takes long, one line at a time.
    """

    path: Path
    folder: Path
    weights: Path | None = None
    entry: str | None = None
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    trust_pickle: bool = False
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Tolerance:
    """How far outputs may be from the reference's, as shares of its range.

    The default is for FP32: conversion alone reorders sums, a few units in the seventh digit,
    grown over the layers.

    Attributes:
        max: for the value that is furthest away.
        mean: for all values on average.
    """

    max: float = 1e-4
    mean: float = 1e-4


class Reference(Protocol):
    """The source as its own framework, or a reader that is independent of ours, computes it."""

    @property
    def name(self) -> str:
        """Implementation and version: ``torch 2.13.0``, ``OpenCV 4.13.0 (Caffe importer)``."""
        ...

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the ONNX graph's outputs that it computes."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, of the same shapes and in the same layout as the ONNX graph's.

        Args:
            inputs: by the names of the ONNX graph's inputs.

        Raises:
            ModelFileError: if the source cannot be run on them.
        """
        ...


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A graph and what it was made from.

    Attributes:
        model: the graph with all its weights, in FP32 where the source is.
        path: an ONNX file with the same content: the user's own, or one in the request's folder.
        sha256: hash of the source (all its files), which links everything made from it.
        framework: its name in `SOURCES`.
        reference: what parity is measured against; None where nothing here can run the source
            besides what was converted from it, and then `notes` say so.
        provenance: name to version of what converted it; no times, no paths.
        notes: what was guessed, left out, or tried in vain, for people.
        spec: what the source says that it expects and means, in the JSON form of `edgeinfer.spec`,
            whole or partial; the rest is guessed. None where it says nothing.
        shapes: input name to a shape that the source is known to take, for open dimensions.
        tolerance: wider than FP32's where the source itself rounds.
    """

    model: onnx.ModelProto
    path: Path
    sha256: str
    framework: str
    reference: Reference | None
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spec: Mapping[str, Any] | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tolerance: Tolerance = Tolerance()


class Reader(Protocol):
    """A module under `sources/` that reads one kind of trained model; named in `SOURCES`.

    Importing it loads no framework: those are imported inside its functions, by
    `edgeinfer.packages.need`, which names the extra that brings them.
    """

    TITLE: str
    """What people call its models: ``Keras``."""

    def recognizes(self, path: Path) -> bool:
        """Whether a file or folder is one of its models, by content, reading no more than a little.

        Never raises: what cannot be read is not recognized.
        """
        ...

    def open_source(self, request: Request) -> SourceModel:
        """Read a model.

        Raises:
            ModelFileError: if it is missing, damaged, or holds an operator that is not supported
                (named, with its place).
            UsageError: if an option is missing that this kind of model needs.
            MissingPackageError: if the extra that reads it is not installed.
        """
        ...
