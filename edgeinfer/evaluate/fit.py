"""Whether labelled data can judge a model, and which class of the one is which of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets import Dataset, Table
from edgeinfer.errors import SpecError, UsageError, suggest
from edgeinfer.evaluate.collectors import COLLECTORS
from edgeinfer.spec import ModelSpec

# Models of other tasks than the data's that can be judged all the same.
_ALSO_JUDGED: Mapping[str, tuple[str, ...]] = MappingProxyType({"face": ("detect", "pose")})


def check_fit(
    spec: ModelSpec, dataset: Dataset, class_count: int | None = None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Whether a dataset can judge a model; see `match_labels` for what is returned.

    Raises:
        UsageError: if model and dataset have different tasks, or the task has no metric here.
        SpecError: if the classes of dataset and model do not fit each other.
    """
    if dataset.task not in (spec.task, *_ALSO_JUDGED.get(spec.task, ())):
        raise UsageError(
            f"The model's task is '{spec.task}', the dataset {dataset.name} is for "
            f"'{dataset.task}': give data of the model's task, or correct it with --task."
        )
    if dataset.task not in COLLECTORS:
        raise UsageError(
            f"There is no metric for the task '{dataset.task}' here; known: "
            f"{', '.join(COLLECTORS)}."
        )
    if isinstance(dataset, Table):
        if dataset.labels:
            return match_names(dataset.name, dataset.labels, spec.labels), ()
        if dataset.task == "classify":
            check_class(int(dataset.answers.max()), dataset.name, spec, class_count)
    if not spec.labels and dataset.labels and class_count not in (None, len(dataset.labels)):
        raise SpecError(
            f"The model tells {class_count} classes apart and carries no labels; the dataset has "
            f"{len(dataset.labels)} classes: say which is which with --labels FILE."
        )
    return match_labels(dataset.labels, spec.labels, dataset.task)


def check_class(class_id: int, name: str, spec: ModelSpec, class_count: int | None) -> None:
    """Refuse a true class that is none of the model's.

    Args:
        class_id: the class. name: what has it.

    Raises:
        SpecError: naming the class and how many the model has.
    """
    known = class_count or len(spec.labels)
    if not known or 0 <= class_id < known:
        return
    called = f" ({_listed(spec.labels)})" if spec.labels else ""
    raise SpecError(
        f"{name} holds the class {class_id}, while the model tells {known} classes apart{called}, "
        f"numbered from 0: give data of its classes. A table may give names in place of numbers."
    )


def match_names(dataset: str, names: Sequence[str], models: Sequence[str]) -> NDArray[np.int64]:
    """The model's class for each class that a table calls by name.

    Raises:
        SpecError: if the model has no labels, or none like this.
    """
    if not models:
        raise SpecError(
            f"{dataset} calls its classes by name ({_listed(names)}), and the model carries no "
            f"labels: say which is which with --labels FILE, or give the classes' numbers."
        )
    known = {_plain(label): position for position, label in enumerate(models)}
    known |= {label: position for position, label in enumerate(models)}
    for name in names:
        if name not in known and _plain(name) not in known:
            raise SpecError(
                f"{dataset} holds the class '{name}', which is none of the model's "
                f"{len(models)}. {suggest(name, models)}"
            )
    return np.array([known.get(name, known.get(_plain(name))) for name in names], np.int64)


def match_labels(
    ours: Sequence[str], models: Sequence[str], task: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Which class of the model each class of the dataset is.

    The same names in another order are matched by name; lists that agree at most places are the
    same list in another spelling (COCO's `motorcycle` is Darknet's `motorbike`). Data for
    classification may hold fewer classes than the model knows; for detection that would count
    right answers as false ones.

    Args:
        ours: the dataset's labels, empty where it holds numbers only.
        models: the model's labels, empty where unknown.
        task: ``detect`` or ``classify``.

    Returns:
        `(C,)` class ids of the model, None where the numbers mean the same; and notes.

    Raises:
        SpecError: if they do not fit, showing both.
    """
    if not ours or tuple(ours) == tuple(models):
        return None, ()
    if not models:
        note = "the model carries no labels; classes are taken to be numbered as in the dataset"
        return None, (note,)
    wanted = [_plain(label) for label in ours]
    known = {_plain(label): position for position, label in enumerate(models)}
    missing = [label for label, plain in zip(ours, wanted, strict=True) if plain not in known]
    if missing and _same_list(wanted, [_plain(label) for label in models]):
        note = f"some classes are spelled in another way ({_listed(missing)}); taken by number"
        return None, (note,)
    partial = len(set(wanted)) < len(known)
    if missing or (partial and task != "classify") or len(set(wanted)) < len(wanted):
        raise SpecError(
            f"The dataset's {len(ours)} classes ({_listed(ours)}) are not the model's "
            f"{len(models)} ({_listed(models)})"
            + (f"; the model does not know {_listed(missing)}" if missing else "")
            + ". Give the model's names with --labels FILE (the data.yaml will do, where only "
            "the spelling differs), or a dataset with its classes."
        )
    return np.array([known[plain] for plain in wanted], np.int64), ()


def _same_list(wanted: Sequence[str], known: Sequence[str]) -> bool:
    if len(wanted) != len(known):
        return False
    agreeing = sum(a == b for a, b in zip(wanted, known, strict=True))
    return agreeing >= 0.75 * len(known)


def _plain(label: str) -> str:
    """Folder names cannot hold every character: `fire_hydrant` is `Fire hydrant`."""
    return " ".join(label.replace("_", " ").replace("-", " ").casefold().split())


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:6])
    return shown + (", ..." if len(labels) > 6 else "")
