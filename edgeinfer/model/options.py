"""What can be said when a model is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeinfer.errors import UsageError, suggest
from edgeinfer.plan import PREPROCESS
from edgeinfer.resolve import Overrides

# More gain nothing and hold memory: each has activations of its own.
MAX_LANES = 16


@dataclass(frozen=True)
class LoadOptions:
    """How a model is opened; what is None or empty is left to the model and the box.

    Attributes:
        provider: ``auto``, or a provider's name, with ``:device`` where it has several.
        provider_options: the provider's own options.
        allow_fallback: whether the CPU may take over when the named provider does not run.
        max_cpu_nodes: how many nodes may land on the CPU, shape arithmetic not counted.
        threads: for the whole process; None for what the box really grants.
        lanes: how many inferences run at once, at most `MAX_LANES`. The threads are shared out
            among them: one lane gives the lowest latency and takes the least memory; more give
            more frames a second where a model does not keep all threads busy.
        spec, task, head, labels: override what the model says.
        input_shapes: full shapes of inputs whose file leaves dimensions open.
        score_threshold, iou_threshold, max_detections, classes: which detections are reported.
        preprocess: ``host``, ``graph``, or None for the stored choice, else ``host``.
    """

    provider: str = "auto"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    allow_fallback: bool = False
    max_cpu_nodes: int | None = None
    threads: int | None = None
    lanes: int = 1
    spec: Path | None = None
    task: str | None = None
    head: str | None = None
    labels: Path | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    classes: tuple[str, ...] = ()
    preprocess: str | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"threads is {self.threads}, not from 1 to 1024.")
        if not 1 <= self.lanes <= MAX_LANES:
            raise UsageError(f"lanes is {self.lanes}, not from 1 to {MAX_LANES}.")
        if self.preprocess not in (None, *PREPROCESS):
            raise UsageError(
                f"preprocess is '{self.preprocess}'. {suggest(str(self.preprocess), PREPROCESS)}"
            )
        for name, value in (("score", self.score_threshold), ("iou", self.iou_threshold)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"The {name} threshold is {value}, not between 0 and 1.")
        if self.max_detections is not None and self.max_detections < 1:
            raise UsageError(f"max_detections is {self.max_detections}, not 1 or more.")
        for name, shape in self.input_shapes.items():
            if any(size < 1 for size in shape):
                raise UsageError(f"The input shape {name}:{list(shape)} holds a size below 1.")

    def overrides(self) -> Overrides:
        """The part that describes the model."""
        return Overrides(
            spec=self.spec,
            task=self.task,
            head=self.head,
            labels=self.labels,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            classes=self.classes,
        )
