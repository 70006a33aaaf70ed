"""Plans on disk: one for each model content and objective, used only where everything is as it was
measured.

A plan lies in the cache as ``plans/SHA256.OBJECTIVE.json`` (schema ``edgeinfer.plan/1``; from
when a model had one plan only, ``plans/SHA256.json`` is read, too) and carries a digest over its
content. The digest is no signature: it tells accidents and edits by hand, not an
attacker, who could write to the cache in other ways, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer import cache
from edgeinfer.artifact import ModelFile
from edgeinfer.errors import EdgeInferError
from edgeinfer.lazy import new_sha256
from edgeinfer.machine import Machine, this_machine
from edgeinfer.plan.choice import OBJECTIVES, Choice, choice_from
from edgeinfer.providers import PROVIDERS
from edgeinfer.records import dataclass
from edgeinfer.spec import InputSpec, TensorSpec, input_fields
from edgeinfer.version import __version__

SCHEMA = "edgeinfer.plan/1"
_KIND = "plans"
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class StoredPlan:
    """A plan as it was stored.

    Attributes:
        choice: what won.
        inputs: the spec of the inputs that it was measured with.
        graph_inputs: the inputs of the file itself, before preprocessing moved into it.
        input_shapes: the shapes that the user gave when it was measured.
        document: all of it.
        path: where it lies.
        stored_ns: when it was stored, wall clock.
    """

    choice: Choice
    inputs: tuple[InputSpec, ...]
    graph_inputs: tuple[TensorSpec, ...]
    input_shapes: Mapping[str, tuple[int, ...]]
    document: Mapping[str, Any]
    path: Path
    stored_ns: int

    @property
    def objective(self) -> str:
        return str(self.document["objective"])

    def objective_text(self, why: str) -> str:
        """Something about it, for people, where there may be several."""
        return f"the one for {self.objective}: {why}"

    def text(self) -> str:
        """For people: what won, when measured for what."""
        return f"{self.choice.text()} (tuned for {self.objective})"


def _digest(document: Mapping[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return new_sha256(text.encode()).hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its digest; only what JSON gives back unchanged may be in it."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(document), allow_nan=False))
    return {**plain, "digest": _digest(plain)}


def plan_path(sha256: str, objective: str) -> Path:
    """Where the plan of a model for an objective is kept."""
    return cache.root() / _KIND / f"{sha256}.{objective}.json"


def store_plan(sha256: str, document: Mapping[str, Any]) -> Path | None:
    """Keep a sealed plan for the model of this content, in place of the one for its objective.

    Returns:
        Its path, or None where the cache refuses.
    """
    data = json.dumps(dict(document), indent=1).encode()
    return cache.store(_KIND, plan_path(sha256, str(document["objective"])).name, data)


def recall_plans(sha256: str) -> tuple[list[StoredPlan], list[str]]:
    """The plans stored for a model, one for each objective, the last stored first; and why others
    cannot be read."""
    found: dict[str, StoredPlan] = {}
    unreadable = []
    # Without an objective: as they were stored before there were several.
    for name in (f"{sha256}.json", *(f"{sha256}.{objective}.json" for objective in OBJECTIVES)):
        plan, why = _recall(cache.place(_KIND, name))
        if why is not None:
            unreadable.append(why)
        if plan is not None:
            before = found.get(plan.objective)
            if before is None or before.stored_ns <= plan.stored_ns:
                found[plan.objective] = plan
    return sorted(found.values(), key=lambda plan: -plan.stored_ns), unreadable


def preferred(plans: Sequence[StoredPlan], recording: bool) -> list[tuple[StoredPlan, str]]:
    """The plans in the order in which they are tried, and why; the last stored come first.

    Args:
        recording: whether frames come from files and only the whole counts: then what was tuned
            for throughput comes first, else it comes last.
    """
    first = [plan for plan in plans if (plan.objective == "throughput") == recording]
    why = "only the whole of a recording counts" if recording else "each frame counts"
    same = "it was tuned last" if len(first) > 1 else why
    rest = [(plan, "there is no other that fits") for plan in plans if plan not in first]
    return [*((plan, same) for plan in first), *rest]


def _recall(path: str) -> tuple[StoredPlan | None, str | None]:
    """A plan, and why it cannot be read (None where there is none)."""
    try:
        status = os.stat(path)
        if status.st_size > _MAX_BYTES:
            return None, f"{path} is larger than any plan"
        document = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        return None, f"{path} is damaged"
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        return None, f"{path} has the schema {found!r}, not {SCHEMA}"
    if document.get("digest") != _digest(document):
        return None, f"{path} was edited or damaged: its content is not what was measured"
    try:
        return _read(document, Path(path), status.st_mtime_ns), None
    except (KeyError, TypeError, ValueError, AttributeError, EdgeInferError) as error:
        return None, f"{path} is damaged ({type(error).__name__}: {error})"


def _read(document: Mapping[str, Any], path: Path, written_ns: int) -> StoredPlan:
    model = document["model"]
    Machine.from_dict(document["machine"])
    document["versions"]["edgeinfer"]
    if document["objective"] not in OBJECTIVES:
        raise ValueError("objective")
    inputs = tuple(InputSpec(**input_fields(item, "the plan")) for item in model["inputs"])
    graph_inputs = tuple(
        TensorSpec(item["name"], item["dtype"], tuple(item["shape"]))
        for item in model["graph_inputs"]
    )
    shapes = {name: tuple(map(int, sizes)) for name, sizes in model["input_shapes"].items()}
    return StoredPlan(
        choice_from(document["best"]),
        inputs,
        graph_inputs,
        shapes,
        document,
        path,
        int(document.get("stored_ns", written_ns)),
    )


def versions_of(provider: str) -> dict[str, str]:
    """Every version that a measurement on a provider depends on.

    Raises:
        MissingPackageError: if its runtime is not installed.
    """
    name = provider.partition(":")[0]
    return {"edgeinfer": __version__, **PROVIDERS[name].versions()}


def why_stale(plan: StoredPlan) -> str | None:
    """Why what was measured says nothing of today's box, or None."""
    before = Machine.from_dict(plan.document["machine"])
    changed = this_machine().differences(before)
    if changed:
        return f"the machine changed: {'; '.join(changed)}"
    name = plan.choice.provider.partition(":")[0]
    if name not in PROVIDERS:
        return f"the provider '{name}' is gone"
    try:
        now = versions_of(name)
    except EdgeInferError as error:
        return f"the provider '{name}' is gone ({error})"
    for key, was in plan.document["versions"].items():
        if now.get(key) != was:
            return f"{key} is {now.get(key, 'gone')}, was {was}"
    new = sorted(set(now) - set(plan.document["versions"]))
    return f"{', '.join(new)} came in" if new else None


def contradictions(plan: StoredPlan, said: Mapping[str, Any]) -> list[str]:
    """What the user said that the plan says otherwise, for people.

    Args:
        said: by name of a field of `Choice`, or ``input_shapes``; only what the user did say.
    """
    found = []
    for key, value in said.items():
        planned = getattr(plan if key == "input_shapes" else plan.choice, key)
        if key in ("options", "input_shapes"):
            value, planned = dict(value), dict(planned)
        if value != planned:
            found.append(f"{key.replace('_', ' ')} {_plain(value)} instead of {_plain(planned)}")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in sorted(value.items())) or "none"
    return str(value)


def locate(plan: StoredPlan, asked: ModelFile, given: tuple[Path, ...]) -> ModelFile | str:
    """The file that a plan chose, or why it cannot be had.

    Looked for, always by content: what was asked for, where it was measured, the files that the
    user names, and the folder of the model.

    Raises:
        ModelFileError: if a file that the user names is no model.
    """
    from edgeinfer.artifact import open_model_file

    choice = plan.choice
    if choice.variant == asked.sha256:
        return asked
    for path in given:
        file = open_model_file(path)
        if file.sha256 == choice.variant:
            return file
    seen = None
    for path in (choice.path, asked.path.parent / choice.path.name):
        try:
            if not path.is_file():
                continue
            if (file := open_model_file(path)).sha256 == choice.variant:
                return file
        except (EdgeInferError, OSError):
            pass
        seen = seen or path
    if seen is not None:
        return f"its {choice.precision} variant {seen} has changed since"
    return f"its {choice.precision} variant {choice.path} is missing; name it with --variant"
