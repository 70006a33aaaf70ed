"""The cache of compiled artefacts under many processes and under kill -9.

    python tests/stress/compiled_stress.py --processes 16 --rounds 200 --kills 1000

Exits with 1, and says what was wrong, where an artefact was built twice, was torn, or where
something was left behind. The test suite runs the same with smaller numbers.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import compiled_worker as worker

from edgeinfer import cache, compiled
from edgeinfer.child import Child

_SCRIPT = str(Path(worker.__file__))
_AHEAD_NS = 5_000_000


def race(root: Path, processes: int, rounds: int) -> list[str]:
    """Let all processes want the same artefact at the same moment, round after round.

    Returns:
        What was wrong: a round with another number of builds than one, or a damaged artefact.
    """
    faults = []
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(_Worker())) for _ in range(processes)]
        for number in range(rounds):
            log = root / f"builds-{number}"
            start = time.monotonic_ns() + _AHEAD_NS
            for each in workers:
                each.tell("obtain", root, f"round {number}", start, log)
            answers = [each.hear() for each in workers]
            builds = len(log.read_text().splitlines()) if log.exists() else 0
            if builds != 1 or set(answers) != {"whole"}:
                faults.append(f"round {number}: {builds} builds, {sorted(set(answers))}")
    return faults + _leftovers(root)


def kill(root: Path, kills: int, seed: int = 0) -> list[str]:
    """Kill a process that builds, damages and rebuilds artefacts, again and again.

    Returns:
        What was wrong: a torn artefact that the cache takes for whole, or anything left behind
        after the next process came.
    """
    cache.set_root(root)
    chosen = random.Random(seed)
    faults = []
    with ExitStack() as stack:
        following = stack.enter_context(closing(_Worker()))
        for number in range(kills):
            current, following = following, _Worker()
            stack.callback(following.close)
            current.tell("loop", root, seed + number)
            time.sleep(chosen.uniform(0, 0.03))
            current.close()
            for name in worker.NAMES:
                folder = compiled.find("stress", worker.key(name))
                if folder is not None and not worker.is_whole(folder, name):
                    faults.append(f"kill {number}: {name} is torn")
            name = worker.NAMES[number % len(worker.NAMES)]
            folder = worker.obtain(name)
            if folder is None or not worker.is_whole(folder, name):
                faults.append(f"kill {number}: {name} could not be had afterwards")
            faults += [f"kill {number}: {fault}" for fault in _leftovers(root)]
    cache.set_root(None)
    return faults


def _leftovers(root: Path) -> list[str]:
    """Everything under the cache that is neither an artefact nor a note."""
    home = root / "1" / "compiled"
    parts = [home / part for part in ("building", "locks", "trash")]
    found = [path for part in parts for path in part.glob("*")]
    found += [path for path in home.iterdir() if not path.name.startswith("stress-")]
    return [f"left behind: {path.relative_to(home)}" for path in found if path not in parts]


class _Worker:
    """A worker process; it starts while others are at work and greets when it is first told."""

    def __init__(self) -> None:
        self._child = Child(_SCRIPT)
        self._greeted = False

    def tell(self, *words: object) -> None:
        """Send one command."""
        if not self._greeted:
            assert self.hear() == "ready"
            self._greeted = True
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(("\t".join(map(str, words)) + "\n").encode())
        self._child.process.stdin.flush()

    def hear(self) -> str:
        """Read one answer."""
        assert self._child.process.stdout is not None
        line = self._child.process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError(self._child.wait(10).stderr)
        return line

    def close(self) -> None:
        """End it by SIGKILL."""
        self._child.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--kills", type=int, default=1000)
    given = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        faults += race(Path(folder) / "race", given.processes, given.rounds)
        print(
            f"{given.processes} processes, {given.rounds} rounds: {len(faults)} faults, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        started, before = time.monotonic(), len(faults)
        faults += kill(Path(folder) / "kill", given.kills)
        took = time.monotonic() - started
        print(f"{given.kills} kills: {len(faults) - before} faults, {took:.0f} s")
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
