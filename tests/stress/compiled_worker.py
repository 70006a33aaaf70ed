"""A process that takes artefacts from the cache as it is told, one line on stdin at a time.

Run by `edgeinfer.child.Child` from `test_compiled_processes.py` and from `compiled_stress.py`.

    obtain ROOT NAME START_NS LOG    obtain the artefact NAME at START_NS of the monotonic clock
    loop ROOT SEED                   build, damage and rebuild artefacts until killed
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from pathlib import Path

from edgeinfer import cache, compiled

NAMES = ("a", "b", "c", "d")
_FILES = ("engine.bin", "inner/weights.bin", "inner/notes.txt")
_SIZE = 60_000


def content(name: str, file: str) -> bytes:
    """What the file of an artefact must hold."""
    block = hashlib.sha256(f"{name} {file}".encode()).digest()
    return block * (_SIZE // len(block))


def key(name: str) -> dict[str, str]:
    return {"model": hashlib.sha256(name.encode()).hexdigest(), "version": "1"}


def is_whole(folder: Path, name: str) -> bool:
    """Whether an artefact holds what its builder wrote, to the byte."""
    return all((folder / file).read_bytes() == content(name, file) for file in _FILES)


def obtain(name: str, log: Path | None = None) -> Path | None:
    """Take an artefact; who builds it appends a line to the log."""

    def build(folder: Path) -> None:
        if log is not None:
            with log.open("a") as lines:
                lines.write(f"{os.getpid()}\n")
        (folder / "inner").mkdir()
        for file in _FILES:
            data = content(name, file)
            with (folder / file).open("wb", buffering=0) as out:
                for start in range(0, len(data), 8192):
                    out.write(data[start : start + 8192])

    return compiled.obtain("stress", key(name), build)


def _loop(seed: int) -> None:
    chosen = random.Random(seed)
    while True:
        name = chosen.choice(NAMES)
        folder = obtain(name)
        if folder is not None and chosen.random() < 0.7:
            # Damaged as a bad disk would: it must be noticed, dropped and built again.
            with (folder / chosen.choice(_FILES)).open("ab") as file:
                file.write(b"!")
        if chosen.random() < 0.1:
            compiled.clear()


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        command, root, *rest = line.rstrip("\n").split("\t")
        cache.set_root(Path(root))
        if command == "loop":
            _loop(int(rest[0]))
        name, start, log = rest
        while time.monotonic_ns() < int(start):
            pass
        folder = obtain(name, Path(log))
        whole = folder is not None and is_whole(folder, name)
        print("whole" if whole else f"not whole: {folder}", flush=True)


if __name__ == "__main__":
    main()
