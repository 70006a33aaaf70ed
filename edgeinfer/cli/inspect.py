"""`edgeinfer inspect`: what a model file is and what the runtime will do with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions


@click.command(name="inspect")
@click.argument("model", type=PATH)
@model_options
@format_option
def command(model: Path, load_options: LoadOptions, output_format: str) -> None:
    """Show what MODEL is, what it expects and means, and what will run it."""
    from edgeinfer.describe import describe_model

    found = describe_model(model, load_options)
    if output_format == "json":
        print_json(found)
    else:
        print(_text(found))


def _labels_text(labels: Sequence[str]) -> str:
    if not labels:
        return "no labels"
    more = ", ..." if len(labels) > 5 else ""
    count = "1 label" if len(labels) == 1 else f"{len(labels)} labels"
    return f"{count} ({', '.join(labels[:5])}{more})"


def _text(found: dict[str, Any]) -> str:
    ops = sorted(found["op_types"].items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [
        ("file", found["path"]),
        ("sha256", found["sha256"]),
        ("opset", ", ".join(f"{name or 'ai.onnx'} {v}" for name, v in found["opsets"].items())),
        ("precision", found["precision"]),
        ("inputs", "; ".join(f"{i['name']} {i['dtype']} {i['shape']}" for i in found["inputs"])),
        ("outputs", "; ".join(f"{i['name']} {i['dtype']} {i['shape']}" for i in found["outputs"])),
        ("nodes", f"{found['nodes']}: " + ", ".join(f"{count} {op}" for op, count in ops[:8])),
    ]
    spec = found["spec"]
    if spec is not None:
        named = _labels_text(spec["labels"])
        rows.append(("task", f"{spec['task']}, head {spec['head']}, {named}"))
        rows += [("input spec", _input_text(item)) for item in spec["inputs"]]
        rows.append(("spec from", found["spec_source"]))
    if found["provenance"] is not None:
        rows.append(("made", _provenance_text(found["provenance"])))
    if found["golden"] is not None:
        rows.append(("golden", f"{found['golden']} ('edgeinfer selftest' replays it)"))
    served = found["served"]
    counted = served["placement"]["providers"]
    where = ", ".join(f"{name} {item['nodes']} nodes" for name, item in counted.items())
    rows.append(("runs on", f"{served['provider']} ({served['provider_impl']}): {where}"))
    plan = found["plan"]
    idle = "wait busily" if plan["spinning"] else "sleep"
    rows.append(
        (
            "computes in",
            f"{served['compute_precision']}, {plan['threads']} threads (idle ones {idle}), "
            f"{plan['lanes']} at once, preprocessing on the {plan['preprocess']}",
        )
    )
    rows.append(("plan", f"{plan['source']}{_unplanned(plan)}"))
    rows += [("", note) for note in plan["notes"]]
    if len(found["variants"]) > 1:
        rows += [("variant", _variant_text(item, found)) for item in found["variants"]]
    rows += [("skipped", f"{k}: {v}") for k, v in served["skipped_providers"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
    return "\n".join(lines + [f"warning: {text}" for text in found["warnings"]])


def _provenance_text(made: dict[str, Any]) -> str:
    """One line, whatever somebody wrote there."""
    parts = [f"by edgeinfer {made.get('edgeinfer', '?')} from {made.get('framework', '?')}"]
    parts.append(f"source {str(made.get('source_sha256', '?'))[:12]}")
    # The graph's reader and what rewrote it are often the same package: told once.
    versions: dict[str, None] = {}
    for key in ("converters", "tools"):
        if isinstance(made.get(key), dict):
            versions.update((f"{name} {version}", None) for name, version in made[key].items())
    parts += versions
    if isinstance(made.get("options"), dict):
        said = " ".join(f"{key}={value}" for key, value in made["options"].items())
        parts.append(f"options {said}")
    if isinstance(made.get("guessed"), list):
        parts.append(f"guessed {'; '.join(str(note) for note in made['guessed'])}")
    return ", ".join(parts)


def _unplanned(plan: dict[str, Any]) -> str:
    if plan["source"] == "tuned" or plan["notes"]:
        return ""
    return " (nothing is stored that fits: 'edgeinfer tune' measures what is fastest here)"


def _variant_text(item: dict[str, Any], found: dict[str, Any]) -> str:
    runs = ", runs" if item["sha256"] == found["running"]["sha256"] else ""
    return f"{item['precision'] or 'precision not said'}: {item['path']}{runs}"


def _input_text(item: dict[str, Any]) -> str:
    if item["kind"] == "tensor":
        return f"{item['name']}: {item['dtype']} array"
    height, width = item["size_hw"]
    return (
        f"{item['name']}: {width}x{height} {item['resize']} ({item['interpolation']}), "
        f"{item['color']} {item['layout']} {item['dtype']}, "
        f"(pixel * {item['scale']:.6g} - {item['mean']}) / {item['std']}"
    )
