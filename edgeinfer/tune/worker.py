"""The child that holds one candidate: it opens the model and does as it is told, line by line.

A line of JSON on stdin is a command, one on stdout its answer: ``{"ok": true, ...}`` or
``{"error": "why not"}``. It ends when stdin does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer import cache
from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Array, Frame, FrameId, frame_from_array
from edgeinfer.machine import peak_memory_bytes
from edgeinfer.model import Lane, LoadOptions, Model, open_model
from edgeinfer.results import Classes, Detections, Payload
from edgeinfer.sources import SourceInfo
from edgeinfer.spec import ModelSpec
from edgeinfer.timing import now_ns
from edgeinfer.tune.frames import read_frames


class Worker:
    """One candidate, opened."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._lane: Lane | None = None
        self._frames: list[Frame] = []

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command.

        Raises:
            EdgeInferError: whatever the model says.
        """
        actions = {
            "open": self._open,
            "frames": self._take_frames,
            "answers": self._answers,
            "block": self._block,
            "rate": self._rate,
            "evaluate": self._evaluate,
        }
        return actions[command["do"]](command)

    @property
    def model(self) -> Model:
        assert self._model is not None
        return self._model

    def _open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if command["cache"] is not None:
            cache.set_root(Path(command["cache"]))
        model = open_model(Path(command["path"]), options_from(command["options"]))
        self._model, self._lane = model, model.lane()
        self._lane.warm_up()
        return {
            "served": {**model.served.to_dict(), "threads": model.served.threads},
            "spec": model.spec.to_dict(),
            "fed_inputs": [item.to_dict() for item in model.fed_inputs],
            "given_inputs": [item.to_dict() for item in model.given_inputs],
            "graph_inputs": [item.to_dict() for item in model.graph_inputs],
            "takes_pictures": model.takes_pictures,
            "opening_ns": model.opening_ns,
            "memory_bytes": peak_memory_bytes(),
        }

    def _take_frames(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self._frames = [
            frame_from_array(data, "tune", index)
            for index, data in enumerate(read_frames(Path(command["folder"])))
        ]
        return {"count": len(self._frames)}

    def _answers(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """What it says to every frame: outputs of the graph, and results with weak ones, too."""
        spec = self.model.spec
        lane = self.model.lane(_with_scores_from(spec, spec.thresholds.get("score", 0.0) / 2))
        names: list[str] = []
        for index, frame in enumerate(self._frames):
            outputs = lane.raw(frame)
            names = list(outputs)
            kept = {f"output{at}": outputs[name] for at, name in enumerate(names)}
            kept.update(_typed(lane.predict(frame).value))
            np.savez(Path(command["folder"]) / f"{index}.npz", **kept)  # type: ignore[arg-type]
        lane.close()
        return {"outputs": names, "memory_bytes": peak_memory_bytes()}

    def _block(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Latencies of some frames, paced where an interval is given, after one that is not kept.

        A frame's time begins when it is taken up, or when it was due where the one before it took
        longer than the interval.
        """
        lane, frames, interval = self._lane, self._frames, int(command["interval_ns"])
        assert lane is not None
        lane.predict(frames[-1])
        samples = []
        began, cpu_began = now_ns(), time.process_time_ns()
        for index in range(command["frames"]):
            due = began + index * interval
            early = due - now_ns()
            if interval and early > 0:
                time.sleep(early / 1e9)
            start = now_ns() if early > 0 or not interval else due
            lane.predict(frames[index % len(frames)])
            samples.append(now_ns() - start)
        if interval:
            # What idle threads burn until the next frame belongs to this one.
            time.sleep(max(0, began + command["frames"] * interval - now_ns()) / 1e9)
        return {"samples": samples, "cpu_ns": time.process_time_ns() - cpu_began}

    def _rate(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Frames per second through the pipeline, with the lanes that the candidate has."""
        from edgeinfer.pipeline import Run, RunOptions

        cpu_began = time.process_time_ns()
        run = Run(self.model, _Again(self._frames, command["frames"]), [], RunOptions())
        summary = run.run()
        return {"fps": summary["fps"], "cpu_ns": time.process_time_ns() - cpu_began}

    def _evaluate(self, command: Mapping[str, Any]) -> dict[str, Any]:
        from edgeinfer.datasets import open_dataset
        from edgeinfer.evaluate import evaluate, showing_weak

        here = Path.cwd()
        os.chdir(command["folder"])  # where a user's module lies
        try:
            data = open_dataset(command["dataset"], self.model.spec.task)
            found = evaluate(showing_weak(self.model), data)
        finally:
            os.chdir(here)
        return {"metric": found.headline, "value": found.metrics[found.headline], "n": found.n}


class _Again:
    """A source of frames that are in memory, round and round."""

    def __init__(self, frames: list[Frame], count: int) -> None:
        self.info = SourceInfo("tune", False, "arrays", count, None, None)
        self.notes: tuple[str, ...] = ()
        self._frames = frames
        self._count = count
        self._index = 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._index >= self._count:
            raise StopIteration
        frame = self._frames[self._index % len(self._frames)]
        identity = FrameId("tune", self._index, None, now_ns(), frame.id.size_wh)
        self._index += 1
        return dataclasses.replace(frame, id=identity)

    def close(self) -> None:
        self._count = 0


def _with_scores_from(spec: ModelSpec, score: float) -> ModelSpec:
    if spec.task != "detect":
        return spec
    return dataclasses.replace(spec, thresholds={**spec.thresholds, "score": score})


def _typed(value: Payload) -> dict[str, Array]:
    if isinstance(value, Detections):
        return {"boxes": value.boxes_xyxy, "scores": value.scores, "classes": value.class_ids}
    if isinstance(value, Classes):
        return {"scores": value.scores, "classes": value.class_ids}
    return {}


def options_from(data: Mapping[str, Any]) -> LoadOptions:
    """Read what `options_to` wrote."""
    fields = dict(data)
    for key in ("spec", "labels"):
        fields[key] = None if fields[key] is None else Path(fields[key])
    fields["input_shapes"] = {k: tuple(v) for k, v in fields["input_shapes"].items()}
    fields["classes"] = tuple(fields["classes"])
    fields["variants"] = ()
    return LoadOptions(**fields)


def options_to(options: LoadOptions) -> dict[str, Any]:
    """Options as JSON takes them; paths absolute, because a child works elsewhere."""
    fields = {item.name: getattr(options, item.name) for item in dataclasses.fields(options)}
    for key in ("spec", "labels"):
        fields[key] = None if fields[key] is None else str(Path(fields[key]).resolve())
    fields["variants"] = []
    for key in ("provider_options", "input_shapes"):
        fields[key] = dict(fields[key])
    return fields


def main() -> None:
    """Serve until stdin ends."""
    # Libraries print to stdout; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = {"ok": True, **worker.do(json.loads(line))}
        except EdgeInferError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
