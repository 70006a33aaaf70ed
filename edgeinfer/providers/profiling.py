"""What each node took: ONNX Runtime's own profile of a session.

Inside `recorded()` every session of ONNX Runtime is opened with its profiler on.
https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from edgeinfer import scratch
from edgeinfer.errors import ProviderError
from edgeinfer.providers.base import Opening
from edgeinfer.records import dataclass

# Each is timed whole, and so are the nodes inside it.
_CONTROL_FLOW = ("If", "Loop", "Scan")
_NODE_SUFFIX = "_kernel_time"
_RUN = "model_run"


@dataclass(frozen=True)
class TensorShape:
    """A tensor as a node got or gave it.

    Attributes:
        dtype: ONNX Runtime's name: ``float``, ``uint8``.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class NodeTime:
    """One execution of one node.

    Attributes:
        name: of the node after optimization. index: in its graph; both together tell nodes apart.
        provider: by our name.
        run: the run that it belongs to, from 0.
        duration_ns: measured in whole microseconds.
        inputs: those that the node was handed. A constant that was packed at opening is none of
            them, nor is an optional input that was left out.
    """

    name: str
    index: int
    op_type: str
    provider: str
    run: int
    duration_ns: int
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]


@dataclass(frozen=True)
class Profile:
    """What a session did.

    Attributes:
        opening: what was opened, and how.
        provider: by our name.
        runs_ns: each run of the session, from its call to its return.
        nodes: every node of every run; of If, Loop and Scan only the nodes inside, since the time
            of one holds theirs.
    """

    opening: Opening
    provider: str
    runs_ns: tuple[int, ...]
    nodes: tuple[NodeTime, ...]


class Recording:
    """The sessions that are opened inside `recorded()`.

    Args:
        folder: where their profiles lie meanwhile.
        packed: whether nodes may pack their constants.
    """

    def __init__(self, folder: Path, packed: bool) -> None:
        self._folder = folder
        self._packed = packed
        self._session: Any = None
        self._opening: Opening | None = None
        self._names: Mapping[str, str] = {}

    def ask(self, settings: Any) -> None:
        """Make a session record; must come before it is opened."""
        settings.enable_profiling = True
        settings.profile_file_prefix = str(self._folder / "profile")
        if not self._packed:
            settings.add_session_config_entry("session.disable_prepacking", "1")

    def opened(self, session: Any, opening: Opening, names: Mapping[str, str]) -> None:
        """Note a session that records; one that was opened before it is forgotten.

        Args:
            names: ONNX Runtime's name of a provider to ours, the one that was asked for last.
        """
        self._session, self._opening, self._names = session, opening, names

    def profile(self) -> Profile | None:
        """End the recording and read it.

        Returns:
            None where no session of ONNX Runtime was opened.

        Raises:
            ProviderError: if the profile cannot be read.
        """
        session, self._session = self._session, None
        if session is None or self._opening is None:
            return None
        try:
            events = json.loads(Path(session.end_profiling()).read_bytes())
            runs = [event for event in events if event.get("name") == _RUN]
            nodes = [event for event in events if event.get("cat") == "Node"]
            return Profile(
                opening=self._opening,
                provider=list(self._names.values())[-1],
                runs_ns=tuple(1000 * int(run["dur"]) for run in runs),
                nodes=tuple(_nodes(nodes, runs, self._names)),
            )
        except Exception as error:
            raise ProviderError(
                f"ONNX Runtime's profile cannot be read ({type(error).__name__}: {error}): give "
                f"nodes plain names, or install a newer onnxruntime."
            ) from error


_current: ContextVar[Recording | None] = ContextVar("edgeinfer-profiling", default=None)


@contextlib.contextmanager
def recorded(packed: bool = True) -> Iterator[Recording]:
    """Inside, sessions are opened with ONNX Runtime's profiler on, which makes them slower.

    Nothing of it stays behind, also after an error.

    Args:
        packed: False opens them so that the shapes of constants are told, too, which ONNX Runtime
            drops where a node packs a constant at opening; nodes are then slower.
    """
    with scratch.folder("edgeinfer-profile-") as folder:
        recording = Recording(Path(folder), packed)
        token = _current.set(recording)
        try:
            yield recording
        finally:
            _current.reset(token)


def current() -> Recording | None:
    """The recording that is under way, if any."""
    return _current.get()


def _nodes(
    events: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Iterator[NodeTime]:
    """The nodes of complete runs, in the order in which they ended; runs do not overlap."""
    spans = [(int(run["ts"]), int(run["ts"]) + int(run["dur"])) for run in runs]
    run = 0
    for event in sorted(events, key=lambda event: int(event["ts"])):
        arguments, name = event.get("args", {}), str(event["name"])
        if not name.endswith(_NODE_SUFFIX) or arguments.get("op_name") in _CONTROL_FLOW:
            continue
        while run < len(spans) and int(event["ts"]) > spans[run][1]:
            run += 1
        if run == len(spans):
            return
        provider = arguments.get("provider", "")
        yield NodeTime(
            name=name.removesuffix(_NODE_SUFFIX),
            index=int(arguments.get("node_index", -1)),
            op_type=arguments["op_name"],
            provider=names.get(provider, provider),
            run=run,
            duration_ns=1000 * int(event["dur"]),
            inputs=_shapes(arguments.get("input_type_shape", ())),
            outputs=_shapes(arguments.get("output_type_shape", ())),
        )


def _shapes(told: Sequence[Mapping[str, Sequence[int]]]) -> tuple[TensorShape, ...]:
    return tuple(
        TensorShape(dtype, tuple(shape)) for entry in told for dtype, shape in entry.items()
    )
