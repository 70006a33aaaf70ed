"""What can be said when a model is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from edgeinfer.errors import UsageError, suggest
from edgeinfer.plan import OBJECTIVES, PREPROCESS
from edgeinfer.records import dataclass
from edgeinfer.resolve import Overrides

# More gain nothing and hold memory: each has activations of its own.
MAX_LANES = 16
# More than two at once gain little where a model keeps its threads busy, and each holds memory.
_RECORDING_LANES = 2


@dataclass(frozen=True)
class LoadOptions:
    """How a model is opened; what is None or empty is left to the model and the box.

    Attributes:
        provider: ``auto``, or a provider's name, with ``:device`` where it has several.
        provider_options: the provider's own options.
        allow_fallback: whether the CPU may take over when the named provider does not run.
        max_cpu_nodes: how many nodes may land on the CPU, shape arithmetic not counted.
        threads: for the whole process; None for the stored plan's, else what the box really grants.
        spinning: whether idle threads wait busily: it answers sooner and takes processor time;
            None for the stored plan's choice, else they do.
        lanes: how many inferences run at once, at most `MAX_LANES`. The threads are shared out
            among them: one lane gives the lowest latency and takes the least memory; more give
            more frames a second. None for one (but see `recording`).
        recording: whether frames come from files and only the whole counts. Then two inferences run
            at once on the CPU, unless `lanes` or a plan for throughput says otherwise: no thread
            waits for another, and decoding takes a processor from one of them only.
        spec, task, head, labels: override what the model says.
        input_shapes: full shapes of inputs whose file leaves dimensions open.
        score_threshold, iou_threshold, max_detections, classes: which detections are reported.
        preprocess: ``host``, ``graph``, or None for the stored plan's choice, else ``host``.
        variants: files of the same model in other precisions, beside those that lie in its folder;
            only a stored plan makes one of them run.
        use_plan: whether a stored plan (`tune`) that still fits is used.
        plan: the objective whose stored plan must be used; None for what fits the frames: of a
            recording what was tuned for throughput, else what was tuned for something else, the
            last one first; where there is no such plan the other kind, with as many lanes as fit
            the frames.
        build: whether what takes minutes to build (a TensorRT engine) may be built.
        huge_pages: whether the model's memory is put into huge pages at its second frame, where the
            box has them: it runs a little faster (`machine.pages`).
    """

    provider: str = "auto"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    allow_fallback: bool = False
    max_cpu_nodes: int | None = None
    threads: int | None = None
    spinning: bool | None = None
    lanes: int | None = None
    recording: bool = False
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
    variants: tuple[Path, ...] = ()
    use_plan: bool = True
    plan: str | None = None
    build: bool = True
    huge_pages: bool = True

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"threads is {self.threads}, not from 1 to 1024.")
        if self.lanes is not None and not 1 <= self.lanes <= MAX_LANES:
            raise UsageError(f"lanes is {self.lanes}, not from 1 to {MAX_LANES}.")
        if self.plan not in (None, *OBJECTIVES):
            raise UsageError(
                f"There is no objective '{self.plan}'. {suggest(str(self.plan), OBJECTIVES)}"
            )
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

    def lanes_on(self, provider: str, threads: int) -> int:
        """How many inferences run at once where no plan says it.

        Args:
            provider: name, or ``auto``. threads: of the process.
        """
        if self.lanes is not None:
            return self.lanes
        on_cpu = provider in ("auto", "cpu", "openvino")
        return min(_RECORDING_LANES, threads) if self.recording and on_cpu else 1

    def said(self) -> dict[str, Any]:
        """What was said of the things that a plan chooses, by the names of `Choice`.

        Input shapes always count: a plan holds for those that it was measured with.
        """
        given: dict[str, Any] = {
            "provider": None if self.provider == "auto" else self.provider,
            "options": dict(self.provider_options) or None,
            "threads": self.threads,
            "spinning": self.spinning,
            "lanes": self.lanes,
            "preprocess": self.preprocess,
        }
        shapes = {name: tuple(sizes) for name, sizes in self.input_shapes.items()}
        return {**{k: v for k, v in given.items() if v is not None}, "input_shapes": shapes}

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
