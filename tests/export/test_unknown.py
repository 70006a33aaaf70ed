"""ONNX files with operators that nothing here runs: refused by name and place."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer_export import export

HEAD = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml": 3, "com.acme": 1, "own": 1]>'
OPEN = "g (float[1, 4] x, bool c) => (float[1, 4] y)"
PLAIN = f"{HEAD} {OPEN} {{ a = Relu (x) b = OPERATOR (a) y = Relu (b) }}"
INNER = f"""{HEAD} {OPEN} {{
  y = If (c) <then_branch = t () => (float[1, 4] o) {{ o = com.acme.Blur (x) }},
              else_branch = e () => (float[1, 4] p) {{ p = Relu (x) }}>
}}"""
FUNCTION = f"""{HEAD} {OPEN} {{ y = own.soft (x) }}
<domain: "own", opset_import: ["" : 17, "com.acme": 1]>
soft (v) => (w) {{ a = Relu (v) w = com.acme.Blur (a) }}"""


def refusal(tmp_path: Path, model: onnx.ModelProto) -> str:
    path = tmp_path / "custom.onnx"
    onnx.save(model, str(path))
    with pytest.raises(ModelFileError) as raised:
        export(path, tmp_path / "out.onnx", task="tensor")
    assert not (tmp_path / "out.onnx").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            PLAIN.replace("OPERATOR", "com.acme.Blur"),
            "Blur of the domain 'com.acme' (the node that gives 'b', number 2 of 3 in the graph)",
        ),
        (
            PLAIN.replace("OPERATOR", "com.other.Blur"),  # of no opset at all
            "Blur of the domain 'com.other' (the node that gives 'b', number 2 of 3 in the graph)",
        ),
        (
            PLAIN.replace("OPERATOR", "ai.onnx.ml.Blur"),
            "Blur of ai.onnx.ml 3 (the node that gives 'b', number 2 of 3 in the graph)",
        ),
        (
            PLAIN.replace("OPERATOR", "Blur"),
            "Blur of ai.onnx 17 (the node that gives 'b', number 2 of 3 in the graph)",
        ),
        (
            INNER,
            "Blur of the domain 'com.acme' (the node that gives 'o', number 1 of 1 in the "
            "then_branch of the node that gives 'y')",
        ),
        (
            FUNCTION,
            "Blur of the domain 'com.acme' (the node that gives 'w', number 2 of 2 in the "
            "function own:soft)",
        ),
    ],
    ids=["custom", "no opset", "ai.onnx.ml", "standard", "branch", "function"],
)
def test_an_operator_that_nobody_knows_is_named_with_its_place(
    tmp_path: Path, text: str, told: str
) -> None:
    found = refusal(tmp_path, onnx.parser.parse_model(text))
    assert f"does not have: {told}." in found
    assert "custom.onnx" in found and "functions of the model" in found


def test_of_the_runtimes_own_domain_only_what_is_not_in_it_is_named(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft": 1]>
        g (float[1, 4] x) => (float[1, 4] y) {
          a = com.microsoft.QuickGelu (x)
          y = com.microsoft.Blur (a)
        }"""
    )
    model.graph.node[1].name = "last/blur"
    found = refusal(tmp_path, model)
    assert "Blur of the domain 'com.microsoft' (node 'last/blur', which gives 'y', " in found
    assert "number 2 of 2" in found and "QuickGelu" not in found


def test_of_many_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    body = " ".join(f"x{at + 1} = com.acme.Blur (x{at})" for at in range(8))
    model = onnx.parser.parse_model(
        f"{HEAD} g (float[1, 4] x0) => (float[1, 4] y) {{ {body} y = Relu (x8) }}"
    )
    found = refusal(tmp_path, model)
    assert found.count("Blur of") == 6 and ", and 2 more." in found


def test_what_is_refused_for_something_else_is_told_as_that(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        f"{HEAD} g (float[1, 4] x) => (float[1, 4] y) {{ y = MatMul (x, x) }}"
    )
    found = refusal(tmp_path, model)
    assert "does not have" not in found and "MatMul" in found


def test_functions_of_the_model_are_operators_as_others(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(FUNCTION.replace("com.acme.Blur", "Tanh"))
    del model.graph.input[1]
    onnx.save(model, str(tmp_path / "own.onnx"))
    done = export(tmp_path / "own.onnx", tmp_path / "out.onnx", task="tensor")
    assert done.parity["outputs"]["y"]["max"] == 0.0
