"""Peers as contestants of a run: those that can take the model, and why the others cannot."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeinfer import scratch
from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.timing import now_ns
from edgeinfer_bench.api import Cell
from edgeinfer_bench.harness import Contestant
from edgeinfer_bench.hosted import Hosted, Job
from edgeinfer_bench.loops.bench import sleep_until
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.peers import PEERS
from edgeinfer_bench.peers.process import PeerProcess
from edgeinfer_bench.recorder import Samples
from edgeinfer_bench.rig import Closing, Opened

_WARMUP = 20
_STAGES = ("preprocess", "inference", "postprocess")


@dataclass(frozen=True)
class Case:
    """A peer with a model that it takes.

    Attributes:
        folder: of the frames. about: what it says of itself. agreement: of its answers with ours.
        model: the file's record of `Model.summary`.
    """

    name: str
    python: Path | None
    path: Path
    folder: Path
    spec: Mapping[str, Any]
    input_shape: Sequence[int]
    threads: int | None
    about: Mapping[str, Any]
    agreement: Mapping[str, Any]
    model: Mapping[str, Any]
    source: Mapping[str, Any]


@dataclass
class PeerRig:
    """A peer as a `Process`."""

    case: Case
    _process: PeerProcess | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)

    def open(self) -> Opened:
        case = self.case
        self._process = PeerProcess(case.name, case.python)
        about = self._process.open(case.path, case.threads, case.spec, case.input_shape)
        self._process.frames(case.folder)
        warm = dict(_columns(self._block(_WARMUP)))
        began = warm["at"][0] or 0
        warm["at"] = tuple(None if at is None else at - began for at in warm["at"])
        return Opened(self._about(about), case.source, None, 1, about["opening_ns"], warm, None)

    def _about(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """As `Model.summary` has it."""
        peer = {"name": PEERS[self.case.name].title, "version": said["version"]}
        return {
            "model": dict(self.case.model),
            "provider": self.case.name,
            "provider_impl": f"{peer['name']} {peer['version']}",
            "device": said["device"],
            "compute_precision": said["precision"],
            "requested_provider": self.case.name,
            "skipped_providers": {},
            "placement": {"stage": "partition", "providers": {}},
            "plan": {
                "source": "peer",
                "threads": said["threads"],
                "sessions": 1,
                "preprocess": "host",
            },
            "flags": ["no-postprocess"] if said["head"] == "tensor" else [],
            "peer": {**peer, "agreement": dict(self.case.agreement)},
        }

    def _block(self, count: int) -> dict[str, Any]:
        assert self._process is not None
        found = self._process.block(count, self._next)
        self._next += count
        return found

    def measure(self, order: Order, /) -> Turn:
        """Frames back to back.

        Raises:
            UsageError: for an order of another kind.
            EdgeInferError: if it breaks down.
        """
        if order.kind != "back-to-back" or order.frames is None:
            raise UsageError("Peers are measured back to back, a number of frames at a time.")
        if order.discard:
            self._block(order.discard)
        began = now_ns()
        found = self._block(order.frames)
        samples = _columns(found)
        elapsed = now_ns() - began
        sleep_until(now_ns)(now_ns() + order.settle_ns)
        return Turn(
            samples_ns=samples,
            began_ns=began,
            elapsed_ns=elapsed,
            cpu_ns=int(found.get("cpu_ns", 0)),
            offered=order.frames,
        )

    def finish(self) -> Closing:
        return Closing(self._about(self.case.about), self.case.source)

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def _columns(found: Mapping[str, Any]) -> Samples:
    latency = tuple(found["latency_ns"])
    columns: dict[str, tuple[int | None, ...]] = {
        "at": tuple(found["began_ns"]),
        "latency": latency,
        "age": latency,
    }
    for stage in _STAGES:
        if found.get(f"{stage}_ns"):
            columns[stage] = tuple(found[f"{stage}_ns"])
    return columns


@dataclass(frozen=True)
class Field:
    """Who takes part; close() removes the frames.

    Attributes:
        contestants: the peers. notes: why others are left out, and what they do not do.
        most_frames: of the source that everybody gets; None: all.
        folder: where those lie.
    """

    contestants: tuple[Contestant, ...] = ()
    notes: tuple[str, ...] = ()
    most_frames: int | None = None
    folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Remove the frames; a second call does nothing."""
        if self.folder is not None:
            self.folder.cleanup()


def gather(names: Sequence[str], cell: Cell, source: str | None, options: BenchOptions) -> Field:
    """Open each peer once, compare its answers with edgeinfer's, and say who can take part.

    Args:
        names: ``NAME`` or ``NAME=PYTHON``.
        cell: the model that they are to run.

    Raises:
        UsageError: for a name that is no peer, or a scenario that they do not take.
        EdgeInferError: if the model cannot be opened by edgeinfer itself.
    """
    if not names:
        return Field()
    if options.scenario != "single":
        raise UsageError(
            f"Peers are measured with the scenario 'single', not '{options.scenario}': leave "
            f"--peer or --scenario out."
        )
    from edgeinfer_bench.peers.witness import MOST_FRAMES

    asked = [text.partition("=") for text in names]
    peers = [PeerProcess(name, Path(python) if python else None) for name, _, python in asked]
    host = Hosted(Job(cell.path, source, cell.options))
    with contextlib.ExitStack() as stack:
        folder = scratch.folder("edgeinfer-peers-")
        stack.enter_context(folder)
        contestants, notes = [], []
        with contextlib.closing(host):
            about = host.witness(Path(folder.name))
            device = about["summary"]["device"]
            if not device.lower().startswith("cpu"):
                notes.append(f"Peers run on the CPU, {cell.label} on {device}.")
            for peer, (name, _, python) in zip(peers, asked, strict=True):
                with contextlib.closing(peer):
                    case, why = _case(peer, python, cell, Path(folder.name), about, host)
                if case is None:
                    notes.append(f"{peer.peer.title} could not take part: {why}")
                    continue
                if case.about["head"] == "tensor" and about["spec"]["head"] != "tensor":
                    notes.append(
                        f"{peer.peer.title} stops at the raw outputs: no postprocessing is in its "
                        f"latency."
                    )
                contestants.append(Contestant(name, functools.partial(PeerRig, case)))
        stack.pop_all()
    return Field(tuple(contestants), tuple(notes), MOST_FRAMES, folder)


def _case(
    peer: PeerProcess,
    python: str,
    cell: Cell,
    folder: Path,
    about: Mapping[str, Any],
    host: Hosted,
) -> tuple[Case | None, str | None]:
    why = peer.why_unavailable()
    if why is not None:
        return None, why
    threads = about["threads"]
    try:
        said = peer.open(cell.path, threads, about["spec"], about["input_shape"])
        peer.frames(folder)
        agreement = host.agree(peer.answers(), said["head"], said["precision"])
    except EdgeInferError as error:
        return None, str(error)
    case = Case(
        name=peer.name,
        python=Path(python) if python else None,
        path=cell.path,
        folder=folder,
        spec=about["spec"],
        input_shape=about["input_shape"],
        threads=threads,
        about=said,
        agreement=agreement,
        model=about["summary"]["model"],
        source=about["source"],
    )
    return case, None
