"""Models that take bytes against the same models fed by the host."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeinfer.errors import SpecError
from edgeinfer.preprocess import embed, fold, preprocess
from edgeinfer.spec import InputSpec

HEIGHT, WIDTH = 24, 32
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SPREAD = {"std": (0.229, 0.224, 0.225)}
CONV = "y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)"


def spec_of(**fields):
    return InputSpec("x", **{"size_hw": (HEIGHT, WIDTH), **fields})


def model_of(body, given="float[1,3,24,32] x", output="float[N,C,H,W] y", opset=13, ir=8, **stored):
    """A model from text; arrays become initializers."""
    head = f'<ir_version: {ir}, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(f"{head} g ({given}) => ({output}) {{ {body} }}")
    for name, values in stored.items():
        tensor = numpy_helper.from_array(np.asarray(values), name)
        model.graph.initializer.append(tensor)
        if ir < 4:
            info = onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
            model.graph.input.append(info)
    return model


def random(*shape, dtype=np.float32, seed=5):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weights(channels=3, dtype=np.float32):
    return {"w": random(8, channels, 3, 3, dtype=dtype), "b": random(8, dtype=dtype, seed=6)}


def run(model, array, name="x"):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {name: array})


def difference(model, embedded, spec, pictures=3, extra_shape=(50, 40)):
    """Largest difference of any output, as a part of its range."""
    worst = 0.0
    for seed in range(pictures):
        frame = np.random.default_rng(seed).integers(0, 256, (*extra_shape, 3), np.uint8)
        floats, there = preprocess(frame, spec)
        raw, here = preprocess(frame, embedded.spec)
        assert np.array_equal(there.matrix, here.matrix)
        for a, b in zip(run(model, floats), run(embedded.model, raw), strict=True):
            assert a.dtype == b.dtype
            a, b = a.astype(np.float64), b.astype(np.float64)
            worst = max(worst, np.abs(a - b).max() / max(np.ptp(a), 1e-30))
    return worst


def check(model, spec, how, limit=1e-5):
    before = model.SerializeToString()
    embedded = embed(model, spec)
    assert model.SerializeToString() == before, "the given model must stay as it is"
    onnx.checker.check_model(embedded.model, full_check=True)
    assert embedded.how == how
    assert embedded.spec.dtype == "uint8"
    assert embedded.spec.layout == "nhwc"
    assert difference(model, embedded, spec) <= limit
    return embedded


def ops(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("numbers", [{}, {"scale": 1.0}, SPREAD])
def test_scale_and_order_fold_into_a_padded_convolution(color, numbers):
    model = model_of(CONV, **weights())
    embedded = check(model, spec_of(color=color, **numbers), "folded")
    assert ops(embedded.model) == ["Transpose", "Cast", "Conv"]
    assert len(embedded.model.graph.initializer) == 2, "the old weights are gone"


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_mean_gets_a_node_of_its_own(color):
    embedded = check(model_of(CONV, **weights()), spec_of(color=color, **IMAGENET), "nodes")
    assert ops(embedded.model) == ["Transpose", "Cast", "Add", "Conv"]


def test_a_mean_and_a_scale_get_nodes_where_nothing_folds():
    body = "s = Relu(x) y = Conv<pads=[1,1,1,1]>(s, w, b)"
    embedded = check(model_of(body, **weights()), spec_of(**IMAGENET), "nodes")
    assert ops(embedded.model)[:5] == ["Transpose", "Gather", "Cast", "Mul", "Add"]


def test_folding_a_mean_into_a_padded_convolution_would_be_caught():
    """The fault that explicit nodes avoid: padding counts as zero after the mean, not before."""
    model, spec = model_of(CONV, **weights()), spec_of(**IMAGENET)
    bare = embed(model, dataclasses.replace(spec, mean=(0.0,)))
    kernel = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    offsets = np.array([offset for _, offset in spec.per_channel()])
    bias = next(item for item in bare.model.graph.initializer if item.name == "b")
    shifted = numpy_helper.to_array(bias) + np.einsum("mchw,c->m", kernel, offsets)
    bias.CopyFrom(numpy_helper.from_array(shifted.astype(np.float32), "b"))
    assert difference(model, bare, spec) > 1e-3
    # Without padding the same arithmetic is right, so it is the padding that the check sees.
    for faulty in (model, bare.model):
        conv = faulty.graph.node[-1]
        pads = next(attribute for attribute in conv.attribute if attribute.name == "pads")
        conv.attribute.remove(pads)
    assert difference(model, bare, spec) < 1e-5


def test_weights_that_another_node_reads_are_copied():
    body = "p = Conv(x, w, b) q = Mul(w, w) s = ReduceSum<keepdims=0>(q) y = Add(p, s)"
    embedded = check(model_of(body, **weights()), spec_of(), "folded")
    assert {"w", "b"} < {item.name for item in embedded.model.graph.initializer}


def test_two_readers_get_nodes():
    body = "p = Conv<pads=[1,1,1,1]>(x, w, b) r = ReduceMean<axes=[1]>(x) y = Add(p, r)"
    check(model_of(body, **weights()), spec_of(), "nodes")


def test_a_slice_first_gets_nodes():
    body = """
        s = Constant<value = int64[2] {0, 0}>() e = Constant<value = int64[2] {24, 32}>()
        a = Constant<value = int64[2] {2, 3}>() t = Constant<value = int64[2] {2, 2}>()
        z = Slice(x, s, e, a, t)
        y = Conv(z, w, b)"""
    check(model_of(body, **weights()), spec_of(scale=1.0), "nodes")
    embedded = check(model_of(body, **weights()), spec_of(scale=1.0, color="bgr"), "folded")
    assert ops(embedded.model)[:2] == ["Transpose", "Cast"]


def test_depthwise_and_computed_weights_get_nodes():
    depthwise = model_of("y = Conv<group=3>(x, w)", w=random(6, 1, 3, 3))
    check(depthwise, spec_of(), "nodes")
    computed = model_of("v = Identity(w) y = Conv(x, v, b)", **weights())
    check(computed, spec_of(), "nodes")


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_scale_folds_into_a_quantizelinear_where_no_level_moves(color):
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s2, z) y = Conv(d, w, b)"
    step = np.float32(1 / 255)
    model = model_of(body, s=step, s2=step, z=np.uint8(0), **weights())
    embedded = check(model, spec_of(color=color), "folded" if color == "bgr" else "nodes", 0.0)
    assert "Mul" not in ops(embedded.model)
    shared = model_of(body.replace("s2", "s"), s=step, z=np.uint8(0), **weights())
    assert "Mul" not in ops(check(shared, spec_of(color=color), embedded.how, 0.0).model)


def test_a_quantizelinear_whose_levels_would_move_gets_nodes(monkeypatch):
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Conv(d, w, b)"
    spec = spec_of(color="bgr", scale=1 / 255)
    # Every sixth pixel value lies in the middle between two levels: rounding decides.
    model = model_of(body, s=np.float32(6 / 255), z=np.uint8(0), **weights())
    check(model, spec, "nodes", 0.0)

    def blind(step, zero, factor):
        return (step / factor).astype(np.float32)

    monkeypatch.setattr(fold, "_equal_step", blind)
    assert difference(model, embed(model, spec), spec) > 1e-5, "the parity check must see it"


def test_a_dynamicquantizelinear_first_gets_nodes():
    body = """
        q, s, z = DynamicQuantizeLinear(x)
        d = DequantizeLinear(q, s, z)
        y = Conv(d, w, b)"""
    check(model_of(body, **weights()), spec_of(), "nodes", 0.0)


@pytest.mark.parametrize("numbers", [{}, {"scale": 1.0, "mean": (104.0, 117.0, 123.0)}])
def test_float16_models_keep_their_precision(numbers):
    given, output = "float16[1,3,24,32] x", "float16[N,C,H,W] y"
    model = model_of(CONV, given, output, **weights(dtype=np.float16))
    check(model, spec_of(dtype="float16", **numbers), "nodes", 1e-3)


def test_the_order_alone_folds_into_float16_weights():
    given, output = "float16[1,3,24,32] x", "float16[N,C,H,W] y"
    model = model_of(CONV, given, output, **weights(dtype=np.float16))
    check(model, spec_of(dtype="float16", scale=1.0), "folded", 1e-3)


@pytest.mark.parametrize("numbers", [{}, {"mean": (0.1307,), "std": (0.3081,)}])
def test_gray_models_take_one_channel_of_bytes(numbers):
    model = model_of(CONV, "float[1,1,24,32] x", **weights(channels=1))
    embedded = check(model, spec_of(color="gray", **numbers), "nodes" if numbers else "folded")
    shape = embedded.model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 24, 32, 1]
    assert embedded.spec.color == "gray"


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_models_with_channels_last_fold_behind_their_transpose(color):
    body = f"x1 = Transpose<perm=[0,3,1,2]>(x) {CONV.replace('(x,', '(x1,')}"
    model = model_of(body, "float[1,24,32,3] x", **weights())
    check(model, spec_of(layout="nhwc", color=color), "folded")
    check(model, spec_of(layout="nhwc", color=color, **IMAGENET), "nodes")


def test_models_with_channels_last_get_nodes_elsewhere():
    model = model_of("y = Mul(x, w)", "float[1,24,32,3] x", w=random(3))
    check(model, spec_of(layout="nhwc"), "nodes")
    check(model, spec_of(layout="nhwc", color="bgr", scale=1.0), "folded")


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (9, 3), (11, 6), (17, 8), (21, 10)])
def test_old_and_new_operator_sets_are_served(opset, ir):
    for numbers, how in (({}, "folded"), (IMAGENET, "nodes")):
        model = model_of(CONV, opset=opset, ir=ir, **weights())
        embedded = check(model, spec_of(**numbers), how)
        assert embedded.model.opset_import == model.opset_import
        assert embedded.model.ir_version == ir


def test_weights_that_a_caller_may_override_are_not_folded():
    model = model_of(CONV, **weights())
    info = onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 3, 3, 3])
    model.graph.input.append(info)
    assert check(model, spec_of(), "nodes").model.graph.input[1].name == "w"


def test_graphs_inside_nodes_read_the_new_value():
    body = """
        m = ReduceMax<keepdims=0>(x) zero = Constant<value = float {0.0}>()
        c = Greater(m, zero)
        y = If(c) <
            then_branch = t () => (float[1,3,24,32] yes) { yes = Neg(x) },
            else_branch = e () => (float[1,3,24,32] no) { no = Identity(x) }
        >"""
    check(model_of(body, output="float[1,3,24,32] y"), spec_of(), "nodes")


def test_a_graph_inside_a_node_that_reads_the_picture_too_forbids_folding():
    body = f"""
        {CONV.replace("y =", "v =")}
        c = Constant<value = int64 {{1}}>() one = Cast<to=9>(c)
        r = If(one) <
            then_branch = t () => (float[1,3,24,32] yes) {{ yes = Neg(x) }},
            else_branch = e () => (float[1,3,24,32] no) {{ no = Identity(x) }}
        >
        k = ReduceMean<axes=[1,2,3]>(r)
        y = Add(v, k)"""
    check(model_of(body, **weights()), spec_of(), "nodes")


def test_names_that_are_taken_are_left_alone():
    taken = (
        "x_preprocess_Transpose = Conv(x, w, b) x_preprocess_Cast = Relu(x_preprocess_Transpose)"
    )
    body = taken + " y = Neg(x_preprocess_Cast)"
    check(model_of(body, **weights()), spec_of(), "folded")


def test_dimensions_that_vary_go_on_to_vary():
    model = model_of(CONV, "float[batch,3,rows,columns] x", **weights())
    embedded = check(model, spec_of(), "folded")
    shape = embedded.model.graph.input[0].type.tensor_type.shape
    names = [dim.dim_param or dim.dim_value for dim in shape.dim]
    assert names == ["batch", "rows", "columns", 3]


def test_metadata_and_neighbours_survive():
    model = model_of(CONV, **weights())
    for key, value in (("edgeinfer.spec", "{}"), ("author", "someone")):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 24, 32])
    )
    embedded = check(model, spec_of(), "folded")
    assert embedded.model.metadata_props == model.metadata_props
    assert not embedded.model.graph.value_info


def test_weights_in_other_files_are_neither_read_nor_changed(tmp_path):
    model = model_of(CONV, **weights())
    path = tmp_path / "model.onnx"
    given = onnx.ModelProto()
    given.CopyFrom(model)
    onnx.save(given, path, save_as_external_data=True, location="model.data", size_threshold=0)
    light = onnx.load(path, load_external_data=False)
    embedded = embed(light, spec_of())
    assert embedded.how == "nodes"
    kept = next(item for item in embedded.model.graph.initializer if item.name == "w")
    assert kept == light.graph.initializer[0]
    onnx.external_data_helper.load_external_data_for_model(embedded.model, str(tmp_path))
    assert difference(model, embedded, spec_of()) <= 1e-5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "tensor"}, r"'x'.*tensor.*host"),
        ({"dtype": "uint8"}, r"'x'.*uint8.*host"),
        ({"dtype": "float16"}, r"'x'.*FLOAT.*float16.*--spec"),
        ({"layout": "nhwc"}, r"'x'.*24.*nhwc.*--spec"),
        ({"color": "gray"}, r"'x'.*3.*1 channel.*--spec"),
        ({"name": "picture"}, r"'picture'.*inputs: x"),
    ],
)
def test_what_cannot_be_embedded_says_why(fields, words):
    spec = InputSpec(**{"name": "x", "size_hw": (HEIGHT, WIDTH), **fields})
    with pytest.raises(SpecError, match=words):
        embed(model_of(CONV, **weights()), spec)


def test_an_opset_that_is_too_old_says_what_to_do():
    with pytest.raises(SpecError, match=r"opset 6.*host.*newer opset"):
        embed(model_of(CONV, opset=6, ir=3, **weights()), spec_of())


def test_an_input_that_is_also_an_output_is_refused():
    model = model_of("y = Neg(x)", output="float[1,3,24,32] y")
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(SpecError, match=r"'x'.*output.*host"):
        embed(model, spec_of())
