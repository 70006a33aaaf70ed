"""A model on a video through edgeinfer's pipeline, in a process of its own that tells its memory.

Run as `python -m edgeinfer_bench.goals.footprint MODEL VIDEO FRAMES THREADS`; prints one JSON line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgeinfer.machine import peak_memory_bytes
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.pipeline import Outcome, Run, RunOptions
from edgeinfer.sources import open_source

_EVERY = 500


def resident_bytes() -> int:
    """Resident size of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def main(model: str, video: str, frames: int, threads: int) -> dict[str, Any]:
    """Run up to so many frames; resident size every 500."""
    marks: list[tuple[int, int]] = []
    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if done % _EVERY == 0:
            marks.append((done, resident_bytes()))

    options = LoadOptions("cpu", threads=threads, recording=True, use_plan=False)
    with open_model(Path(model), options) as opened:
        source = open_source(video)
        summary = Run(opened, source, [], RunOptions(frames=frames), tell).run()
        source.close()
    return {
        "frames": summary["frames"],
        "fps": summary["fps"],
        "peak_bytes": peak_memory_bytes(),
        "marks": marks,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
