"""What the options of a provider may hold, and a check of keys and values.

ONNX Runtime ignores unknown options silently, and OpenVINO some wrong values: both are refused
here, before anything is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeinfer.errors import UsageError, suggest

# Why a value is refused, or None.
Rule = Callable[[str], str | None]


def boolean(true: str = "1", false: str = "0") -> Rule:
    """One of two words."""
    return one_of(true, false)


def whole(low: int = 0, high: int = 2**63 - 1) -> Rule:
    """A whole number from `low` to `high`."""

    def rule(value: str) -> str | None:
        digits = value[1:] if value.startswith("-") else value
        if digits.isascii() and digits.isdigit() and low <= int(value) <= high:
            return None
        return f"a whole number of at least {low}" + ("" if high >= 2**62 else f", at most {high}")

    return rule


def number(low: float, high: float) -> Rule:
    """A number from `low` to `high`."""

    def rule(value: str) -> str | None:
        try:
            fits = low <= float(value) <= high
        except ValueError:
            fits = False
        return None if fits else f"a number from {low:g} to {high:g}"

    return rule


def one_of(*names: str) -> Rule:
    """One of these words."""

    def rule(value: str) -> str | None:
        return None if value in names else f"one of {', '.join(names)}"

    return rule


def either(first: Rule, second: Rule) -> Rule:
    """What one of two rules takes."""

    def rule(value: str) -> str | None:
        wanted = first(value), second(value)
        return None if None in wanted else " or ".join(str(want) for want in wanted)

    return rule


def text(value: str) -> str | None:
    """Anything but nothing."""
    return None if value else "not empty"


def shapes(value: str) -> str | None:
    """Shapes by input: ``images:1x3x640x640,mask:1x16``."""
    for part in value.split(","):
        name, _, sizes = part.rpartition(":")
        if not name or not all(size.isdigit() and int(size) > 0 for size in sizes.split("x")):
            return "shapes by input, such as images:1x3x640x640"
    return None


def check(name: str, rules: Mapping[str, Rule], given: Mapping[str, str]) -> None:
    """Refuse unknown keys and wrong values.

    Args:
        name: of the provider.

    Raises:
        UsageError: naming the option, the value and what it takes.
    """
    for key, value in given.items():
        rule = rules.get(key)
        if rule is None:
            hint = suggest_key(key, rules) if rules else "It has no options."
            raise UsageError(
                f"The provider '{name}' has no option '{key}'. {hint} (--threads sets threads, "
                f"--provider {name}:DEVICE the device.)"
            )
        wanted = rule(value)
        if wanted is not None:
            raise UsageError(
                f"The option '{key}' of the provider '{name}' is '{value}', not {wanted}."
            )


def suggest_key(key: str, rules: Mapping[str, Rule]) -> str:
    """As `errors.suggest`, whatever the case of letters."""
    by_lower = {known.lower(): known for known in rules}
    said = suggest(key, by_lower)
    for lower, known in by_lower.items():
        said = said.replace(f"'{lower}'", f"'{known}'")
    return said if said.startswith("Did") else f"Known: {', '.join(rules)}."
