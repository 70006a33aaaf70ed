"""The names of classes, from what people keep them in."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import SpecError

# A class's number has no more digits than this.
_MOST_DIGITS = 6


def labels_of(names: object) -> tuple[str, ...] | None:
    """Labels from a list of names, or from names by class number (as numbers or as texts).

    Returns:
        One for each number from 0 on, the number itself where it has no name; None where it is
        neither, or is empty.
    """
    if isinstance(names, (list, tuple)):
        return tuple(map(str, names)) or None
    if not isinstance(names, dict):
        return None
    numbered = {}
    for key, name in names.items():
        number = str(key)
        if not number.isdecimal() or len(number) > _MOST_DIGITS:
            return None
        numbered[int(number)] = str(name)
    last = max(numbered, default=-1)
    return tuple(numbered.get(index, str(index)) for index in range(last + 1)) or None


def read_labels(path: Path) -> tuple[str, ...]:
    """Read labels: one per line, a JSON list or object, or a YAML file with `names`.

    Raises:
        SpecError: if the file cannot be read or holds no labels.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(f"The labels file {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"The labels file {path} cannot be read as UTF-8 text: {error}.") from error
    if path.suffix in (".json", ".yaml", ".yml"):
        import yaml

        try:
            # Scalars as they are written: "no" is a name, and so is 007.
            data = yaml.load(text, yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError) as error:
            raise SpecError(f"The labels file {path} is not valid {path.suffix[1:]}.") from error
        if isinstance(data, dict) and isinstance(data.get("names"), (dict, list)):
            data = data["names"]
        names = labels_of(data)
        if names is None:
            raise SpecError(
                f"The labels file {path} holds no list of names, nor names by class number."
            )
        return names
    labels = tuple(line.strip() for line in text.splitlines())
    while labels and not labels[-1]:
        labels = labels[:-1]
    if not labels:
        raise SpecError(f"The labels file {path} is empty: write one label per line.")
    return labels
