"""What an export brought about, for people: Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def markdown(document: Mapping[str, Any]) -> str:
    """The JSON of `Exported.to_dict` or `Swept.to_dict` as a page."""
    if "points" in document:
        return _sweep(document)
    target = f" for {document['target']}" if document["target"] else ""
    lines = [f"# {document['output']}", "", f"{document['precision']}{target}, sha256 "]
    lines[-1] += f"`{document['sha256']}`"
    sections = (
        ("Graph", _graph(document)),
        ("Parity with the source", _parity(document["parity"])),
        ("Metric", _metric(document["metric"])),
        ("Kept in float", [f"- `{name}`" for name in document["kept_float"]]),
        ("Notes", [f"- {note}" for note in document["notes"]]),
        ("Provenance", _provenance(document["provenance"])),
    )
    for title, body in sections:
        rows = list(body)
        if rows:
            lines += ["", f"## {title}", "", *rows]
    return "\n".join(lines) + "\n"


def _sweep(document: Mapping[str, Any]) -> str:
    rows = (
        (
            f"{point['size_hw'][0]}x{point['size_hw'][1]}{' *' if point['frontier'] else ''}",
            point["precision"],
            _figure(point["accuracy"]),
            "-" if point["p50_ns"] is None else f"{point['p50_ns'] / 1e6:.2f} ms",
            point["refused"] or f"`{point['path']}`",
        )
        for point in document["points"]
    )
    lines = ["# Sizes and precisions", ""]
    lines += _table(("size", "precision", document["metric"], "latency p50", "file"), rows)
    lines += ["", f"\\* no other is both as good and as fast (on {document['provider']}, "]
    lines[-1] += f"{document['threads']} thread(s), in turns). Plot: `{document['plot']}`"
    if document["notes"]:
        lines += ["", "## Notes", "", *(f"- {note}" for note in document["notes"])]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _graph(document: Mapping[str, Any]) -> Iterator[str]:
    rows = (
        (name.replace("_", " "), str(item["before"]), str(item["after"]))
        for name, item in document["graph"].items()
    )
    return _table(("", "before", "after"), rows)


def _parity(parity: Mapping[str, Any]) -> Iterator[str]:
    outputs = parity["outputs"].items()
    rows = ((f"`{name}`", _figure(item["max"]), _figure(item["mean"])) for name, item in outputs)
    yield from _table(("output", "max / range", "mean / range"), rows)
    yield ""
    yield f"On {parity['samples']} inputs ({parity['inputs']}), against {parity['reference']}."
    found = parity.get("agreement")
    if found is not None and found["share"] is not None:
        yield ""
        yield (
            f"{found['share']:.1%} of the source's {found['answers']} answers on "
            f"{found['pictures']} pictures are given too; {found['extra']} are new."
        )


def _metric(metric: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    before, after = metric.get("before", {}), metric.get("after", {})
    if before:
        rows = ((name, _figure(before[name]), _figure(after.get(name))) for name in before)
        yield from _table(("", "before", "after"), rows)


def _provenance(made: Mapping[str, Any]) -> Iterator[str]:
    for key, value in made.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {item}" for name, item in value.items()) or "-"
        elif isinstance(value, list):
            value = "; ".join(str(item) for item in value)
        yield f"- {key}: {value}"


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
