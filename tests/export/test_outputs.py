"""Outputs that are no tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeinfer import load
from edgeinfer.errors import ModelFileError
from edgeinfer_export import export

# As skl2onnx writes a classifier unless it is told otherwise.
CLASSIFIER = """
<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
g (float[n, 2] x) => (string[n] label, float[n, 3] scores) {
  label, raw = ai.onnx.ml.LinearClassifier <classlabels_strings = ["a", "b", "c"],
    coefficients = [1.0, 0.0, 0.0, 1.0, -1.0, -1.0], intercepts = [0.0, 0.0, 0.0],
    post_transform = "POST"> (x)
  scores = ai.onnx.ml.ZipMap <classlabels_strings = ["a", "b", "c"]> (raw)
}
"""


def classifier(path: Path, post: str) -> Path:
    model = onnx.parser.parse_model(CLASSIFIER.replace("POST", post))
    item = model.graph.output[1].type
    item.Clear()
    item.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.STRING
    item.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(("post", "head"), [("SOFTMAX", "softmax"), ("NONE", "logits")])
def test_maps_from_class_to_score_become_a_tensor_with_the_names(
    tmp_path: Path, post: str, head: str
) -> None:
    done = export(classifier(tmp_path / "a.onnx", post), tmp_path / "out.onnx")
    made = onnx.load(str(done.output))
    assert [value.name for value in made.graph.output] == ["scores"]
    assert (done.spec.task, done.spec.head, done.spec.labels) == ("classify", head, ("a", "b", "c"))
    told = " ".join(done.notes)
    assert "'scores' was a list of maps" in told and "'label' was left out" in told
    with load(done.output) as model:
        found = model({"x": np.array([[0.2, 3.0]], np.float32)}).to_dict()["classes"]
    assert found[0]["label"] == "b"


def test_another_sequence_is_refused_by_name(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 4] x) => (seq(float[2, 2]) parts) { parts = SplitToSequence <axis = 1> (x) }"""
    )
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(ModelFileError, match=r"'parts' of .*a\.onnx is a sequence, not a tensor"):
        export(tmp_path / "a.onnx", tmp_path / "out.onnx")
