"""Memory beside a hand-written script, and whether it grows."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from statistics import median
from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer_bench.goals.context import Context, environment
from edgeinfer_bench.goals.goal import Goal

_MIB = 1 << 20
_BOUND_MIB = 40.0
_SIZE_WH = (1280, 720)
_FLAT_FRAMES = 10_000
_FLAT_SIZE_WH = (320, 240)
# What allocators shuffle about without any leak; a leak of 1 KiB per frame gives twice this.
_FLAT_MIB = 4.0
_SAMPLE_S = 0.05

_HAND = "edgeinfer_bench.peers.plain_video"
_OURS = "edgeinfer_bench.goals.footprint"


def memory(context: Context) -> list[Goal]:
    """Peak memory against the hand-written script, and growth over ten thousand frames."""
    return [*_beside(context), _flat(context)]


def _beside(context: Context) -> list[Goal]:
    frames = context.rounds(150, 30)
    video = context.video(frames, _SIZE_WH)
    arguments = [str(context.detector()), str(video), str(frames), str(context.threads)]
    taken: dict[str, list[dict[str, Any]]] = {_HAND: [], _OURS: []}
    for index in range(context.rounds(3)):
        context.say(f"memory beside a script, round {index + 1}")
        for module, runs in taken.items():
            runs.append(_measured(module, arguments, context.folder))
    peak = {module: median(run["peak_bytes"] for run in runs) for module, runs in taken.items()}
    pss = {module: median(run["pss_bytes"] for run in runs) for module, runs in taken.items()}
    data = {"by_hand": taken[_HAND], "edgeinfer": taken[_OURS]}
    goals = []
    for name, sizes in (
        ("peak resident size of the main process", peak),
        ("peak proportional size with its children", pss),
    ):
        detail = {
            "edgeinfer": f"{sizes[_OURS] / _MIB:.1f} MiB",
            "by hand": f"{sizes[_HAND] / _MIB:.1f} MiB",
            "frames": str(taken[_OURS][0]["frames"]),
        }
        above = (sizes[_OURS] - sizes[_HAND]) / _MIB
        goals.append(Goal(f"{name}, above a script", above, _BOUND_MIB, "MiB", False, detail, data))
    return goals


def _flat(context: Context) -> Goal:
    frames = max(1500, round(_FLAT_FRAMES * min(1.0, context.effort)))
    context.say(f"memory over {frames} frames")
    video = context.video(frames, _FLAT_SIZE_WH)
    arguments = [str(context.classifier()), str(video), str(frames), str(context.threads)]
    run = _measured(_OURS, arguments, context.folder)
    marks: list[tuple[int, int]] = run["marks"]
    growth = (marks[-1][1] - marks[0][1]) / _MIB
    detail = {
        f"after {marks[0][0]} frames": f"{marks[0][1] / _MIB:.1f} MiB",
        f"after {marks[-1][0]} frames": f"{marks[-1][1] / _MIB:.1f} MiB",
    }
    name = f"growth of the resident size over {marks[-1][0]:,} frames"
    return Goal(name, growth, _FLAT_MIB, "MiB", detail=detail, data={"marks": marks})


def _measured(module: str, arguments: list[str], folder: Path) -> dict[str, Any]:
    """Run a module that prints JSON; add the peak of its and its children's proportional size."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(_SAMPLE_S):
            peak = max(peak, sum(map(_pss_bytes, _family(process.pid))))

    watcher = threading.Thread(target=watch, name="goals-memory")
    watcher.start()
    try:
        stdout, stderr = process.communicate()
    finally:
        ended.set()
        watcher.join()
    if process.returncode != 0:
        said = stderr.strip().splitlines()[-1:] or ["nothing"]
        raise EdgeInferError(f"{module} failed ({process.returncode}): {said[0]}")
    found: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return {**found, "pss_bytes": peak}


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _pss_bytes(pid: int) -> int:
    """Proportional set size: pages shared with others count in parts."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
