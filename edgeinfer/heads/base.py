"""What a head is: it turns a graph's outputs into a task's typed value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from edgeinfer.frames import Arrays
from edgeinfer.geometry import Affine
from edgeinfer.records import dataclass
from edgeinfer.results import Payload
from edgeinfer.spec import ModelSpec, TensorSpec


@dataclass(frozen=True, eq=False)
class View:
    """How a frame lies in the model's input.

    Attributes:
        to_frame: from model pixels to frame pixels.
        frame_wh: the frame's size, for clipping; None for frames that are no pictures.
        fed: what the graph was fed, for heads that compare it with the outputs; views that hold
            until the next run.
    """

    to_frame: Affine
    frame_wh: tuple[int, int] | None
    fed: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What a head may know of a graph before it runs.

    Attributes:
        outputs: as the runtime names them.
        input_hw: height and width of the picture input, None where there is none.
        last_ops: op type that each output comes from, by output name, past reshapes and casts;
            empty where the file was not looked into.
        guessing: whether the head is being guessed: then the number of predictions must be one
            that the usual grids give; a head that somebody named may have grids of its own.
        options: the spec's `head_options`.
        inputs: as the runtime names them; empty where only the outputs matter.
    """

    outputs: tuple[TensorSpec, ...]
    input_hw: tuple[int, int] | None
    last_ops: tuple[tuple[str, str], ...] = ()
    guessing: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()


class Head(Protocol):
    """One way in which graphs say what they see."""

    @property
    def name(self) -> str: ...

    @property
    def task(self) -> str: ...

    def why_not(self, graph: Graph) -> str | None:
        """Why these outputs cannot be this head's, or None if they can."""
        ...

    def classes(self, graph: Graph) -> int | None:
        """How many classes the outputs tell apart, None where that stays open."""
        ...

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Payload]:
        """One value per frame of the batch; copies what it keeps."""
        ...


def only_output(graph: Graph, rank: int) -> tuple[int | str, ...] | str:
    """The shape of the only output, or why there is none of that rank."""
    if len(graph.outputs) != 1:
        return f"it has one output, this graph has {len(graph.outputs)}"
    shape = graph.outputs[0].shape
    if len(shape) != rank:
        return f"its output has {rank} dimensions, this one is {list(shape)}"
    if isinstance(shape[0], int) and shape[0] < 1:
        return f"its output holds a batch, this one is {list(shape)}"
    return shape


def cells(input_hw: tuple[int, int], strides: Sequence[int]) -> int:
    """How many grid cells a picture has over all strides."""
    height, width = input_hw
    return sum(-(-height // stride) * -(-width // stride) for stride in strides)


# P3 to P5 is what nearly all YOLO models predict on; the P6 and P2 variants add a level.
GRIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))


def grid_counts(graph: Graph, anchors: int) -> tuple[int, ...]:
    """How many predictions the usual grids give for this input."""
    if graph.input_hw is None or not graph.guessing:
        return ()
    return tuple(anchors * cells(graph.input_hw, strides) for strides in GRIDS)
