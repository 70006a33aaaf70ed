"""Cleaning: the same nodes, a form that every runtime reads, nothing about the machine."""

from __future__ import annotations

import onnx
import onnx.parser

from edgeinfer_export.steps.clean import (
    MAX_IR_VERSION,
    clean,
    drop_unused_opsets,
    opset_of,
    raise_opset,
)


def test_the_ir_version_is_one_that_old_runtimes_read(detector: onnx.ModelProto) -> None:
    for given, wanted in ((3, 8), (8, 8), (10, 10), (MAX_IR_VERSION + 3, MAX_IR_VERSION)):
        detector.ir_version = given
        assert clean(detector).ir_version == wanted


def test_weights_are_no_inputs_any_more(detector: onnx.ModelProto) -> None:
    for tensor in detector.graph.initializer:
        detector.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    assert [value.name for value in clean(detector).graph.input] == ["images"]


def test_what_exporters_leave_behind_about_the_machine_is_gone(detector: onnx.ModelProto) -> None:
    detector.graph.doc_string = "from a folder"
    for node in detector.graph.node:
        node.doc_string = "train.py(12): forward"
    cleaned = clean(detector).SerializeToString()
    assert b"train.py" not in cleaned
    assert b"from a folder" not in cleaned


def test_weights_that_nothing_reads_are_gone(detector: onnx.ModelProto) -> None:
    names = {tensor.name for tensor in detector.graph.initializer}
    counter = onnx.helper.make_tensor("num_batches_tracked", onnx.TensorProto.INT64, [], [7])
    detector.graph.initializer.append(counter)
    assert {tensor.name for tensor in clean(detector).graph.initializer} == names


def test_the_given_model_stays_as_it_was(detector: onnx.ModelProto) -> None:
    before = detector.SerializeToString(deterministic=True)
    clean(detector)
    assert detector.SerializeToString(deterministic=True) == before


def test_an_old_opset_is_raised_and_a_new_one_kept(detector: onnx.ModelProto) -> None:
    old = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 10]>
        g (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }
        """
    )
    assert opset_of(raise_opset(clean(old))) == 13
    assert opset_of(raise_opset(detector)) == 17


def test_operator_sets_that_nobody_uses_are_forgotten(detector: onnx.ModelProto) -> None:
    detector.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    drop_unused_opsets(detector)
    assert [(o.domain, o.version) for o in detector.opset_import] == [("", 17)]
