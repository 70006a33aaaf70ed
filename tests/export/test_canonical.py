"""Graphs that differ only in order, numbers and duplicates become the same bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer_export.sources.canonical import canonical

ONE = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y, float[2] z) {
  a__3 = Add (x, c__1)
  b__4 = Mul (a__3, c__2)
  y = Sub (a__3, b__4)
  z = Add (b__4, c__1)
  unused__9 = Neg (x)
}
"""
# The same: other numbers, other order, equal constants merged the other way.
TWO = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y, float[2] z) {
  m__8 = Add (x, c__2)
  n__1 = Mul (m__8, c__2)
  z = Add (n__1, c__1)
  y = Sub (m__8, n__1)
}
"""
LOOP = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, int64 n, bool on) => (float[2] y) {
  s__5 = Mul (x, c__1)
  y = Loop (n, on, x) <body = inner (int64 i, bool go, float[2] v__7)
      => (bool go_on, float[2] w__2) {
    go_on = Identity (go)
    t__4 = Add (v__7, s__5)
    w__2 = Mul (t__4, c__2)
  }>
}
"""


def model(text: str, numbers: dict[str, float] | None = None) -> onnx.ModelProto:
    made = onnx.parser.parse_model(text)
    for name, value in (numbers or {"c__1": 2.0, "c__2": 2.0}).items():
        made.graph.initializer.append(numpy_helper.from_array(np.full(2, value, np.float32), name))
    return made


def run(
    made: onnx.ModelProto, **inputs: object
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(made.SerializeToString())
    return session.run(None, inputs)  # type: ignore[no-any-return]


def test_the_same_graph_told_in_two_ways_gives_the_same_bytes() -> None:
    one, two = model(ONE), model(TWO)
    x = np.array([1.0, -2.0], np.float32)
    before = run(one, x=x)
    for made in (one, two):
        canonical(made)
        onnx.checker.check_model(made, full_check=True)
    assert one.SerializeToString() == two.SerializeToString()
    assert [v.tolist() for v in run(one, x=x)] == [v.tolist() for v in before]
    assert len(one.graph.initializer) == 1 and len(one.graph.node) == 4
    assert "__" not in str(one)


@pytest.mark.parametrize("again", [1, 2])
def test_graphs_inside_keep_what_they_read(again: int) -> None:
    made = model(LOOP, {"c__1": 2.0, "c__2": 0.5})
    fed = {"x": np.array([1.0, -2.0], np.float32), "n": np.array(3), "on": np.array(True)}
    before = run(made, **fed)
    for _ in range(again):
        canonical(made)
    onnx.checker.check_model(made)
    assert run(made, **fed)[0].tolist() == before[0].tolist()


def test_another_number_is_another_graph() -> None:
    one, two = model(ONE), model(ONE, {"c__1": 2.0, "c__2": 3.0})
    canonical(one)
    canonical(two)
    assert one.SerializeToString() != two.SerializeToString()
    assert len(two.graph.initializer) == 2
