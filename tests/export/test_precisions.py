"""FP16, dynamic INT8, and INT8 as each kind of box wants it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeinfer.artifact import nodes_of
from edgeinfer.errors import CheckFailed, ModelFileError
from edgeinfer_export import export
from edgeinfer_export.quantize.calibration import ArrayCalibration
from edgeinfer_export.quantize.float16 import half_floats
from edgeinfer_export.quantize.smooth import smoothed
from edgeinfer_export.quantize.static import quantizer
from edgeinfer_export.steps.clean import clean

Floats = np.ndarray[Any, Any]


def graph(text: str, **weights: Floats) -> onnx.ModelProto:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text)
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    )
    return model


def run(model: onnx.ModelProto, **inputs: Floats) -> Floats:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    found: Floats = session.run(None, inputs)[0]
    return found


def noise(count: int, *shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def residual(seed: int = 0) -> onnx.ModelProto:
    """Two convolutions with a skip connection around the second."""
    random = np.random.default_rng(seed)
    return graph(
        """residual (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
          a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
          b = Relu (a)
          c = Conv <pads = [1, 1, 1, 1]> (b, w2, b2)
          d = Add (c, b)
          e = Relu (d)
          y = Conv <pads = [1, 1, 1, 1]> (e, w3, b3)
        }""",
        **{f"w{at}": random.normal(0, 0.2, (4, 4, 3, 3)) for at in (1, 2, 3)},
        **{f"b{at}": random.normal(0, 0.2, 4) for at in (1, 2, 3)},
    )


def test_factors_of_a_product_and_of_its_bias_count_in_int8() -> None:
    """The quantizer of ONNX Runtime leaves beta out where it writes the bias."""
    random = np.random.default_rng(0)
    model = graph(
        """g (float[n, 8] x) => (float[n, 4] y) {
          a = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b)
          r = Relu (a)
          y = Gemm <beta = 3.0> (r, v, b)
        }""",
        w=random.normal(0, 0.3, (4, 8)),
        v=random.normal(0, 0.3, (4, 4)),
        b=random.normal(0, 1.0, 4),
    )
    rows = noise(64, 8)
    data = ArrayCalibration({"x": rows}, {"x": 1})
    job = quantizer(clean(model), data, target="x86-vnni", method="minmax", keep_last=False)
    wanted, got = run(model, x=rows), run(job.build(), x=rows)
    assert np.abs(wanted - got).max() < 0.03 * np.ptp(wanted)


def narrowed(target: str) -> onnx.ModelProto:
    data = ArrayCalibration({"x": noise(16, 4, 8, 8)}, {"x": 1})
    job = quantizer(clean(residual()), data, target=target, method="minmax", keep_last=False)
    return job.build()


def test_fp16_keeps_its_inputs_and_outputs_and_agrees(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    done = export(source, tmp_path / "out.onnx", precision="fp16", calibration=pictures)
    model = onnx.load(str(done.output))
    kinds = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    assert kinds == [onnx.TensorProto.FLOAT] * 2
    half = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert len(half) >= 8
    assert (done.spec.precision, done.spec.target) == ("fp16", None)
    assert done.parity["agreement"]["share"] == 1.0
    assert done.parity["outputs"]["output0"]["max"] < 0.01


def big_numbers() -> onnx.ModelProto:
    """The second of three products passes 65504 on the way."""
    random = np.random.default_rng(0)
    return graph(
        """big (float[1, 8] x) => (float[1, 8] y) {
          a = MatMul (x, w1)
          huge = Mul (a, k)
          b = Relu (huge)
          small = Mul (b, j)
          y = MatMul (small, w2)
        }""",
        w1=random.normal(0, 1, (8, 8)),
        w2=random.normal(0, 1, (8, 8)),
        k=np.array([1e6]),
        j=np.array([1e-6]),
    )


def test_fp32_stays_where_fp16_would_overflow(tmp_path: Path) -> None:
    model = clean(big_numbers())
    data = ArrayCalibration({"x": noise(8, 8)}, {"x": 1})
    job = half_floats(model, data)
    kept = [node.op_type for node in model.graph.node if node.name in job.head]
    assert kept == ["Mul", "Relu", "Mul"]
    x = noise(1, 8, seed=5)
    np.testing.assert_allclose(run(job.build(), x=x), run(model, x=x), atol=0.05)
    # Without that, the same file would be useless.
    careless = run(type(job)(model, ()).build(), x=x)
    assert not np.allclose(careless, run(model, x=x), atol=0.5)
    onnx.save(model, str(tmp_path / "big.onnx"))
    np.savez(tmp_path / "c.npz", noise(8, 8))
    done = export(
        tmp_path / "big.onnx",
        tmp_path / "out.onnx",
        precision="fp16",
        calibration=tmp_path / "c.npz",
        task="tensor",
        max_drop=0.01,
    )
    assert any("3 nodes stay in FP32" in note for note in done.notes)
    assert [reason["why"] for reason in done.float_reasons] == ["overflow"]
    assert done.gate["loss"] < 0.01


def test_int8_dynamic_makes_products_and_lstms_small(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    model = graph(
        """net (float[5, 1, 16] x) => (float[5, 1, 4] y) {
          h, last, cell = LSTM <hidden_size = 32> (x, w, r, b)
          flat = Reshape (h, shape)
          hidden = Gemm <transB = 1> (flat, gw, gb)
          bright = Relu (hidden)
          z = MatMul (bright, m)
          y = Reshape (z, shape4)
        }""",
        w=random.normal(0, 0.2, (1, 128, 16)),
        r=random.normal(0, 0.2, (1, 128, 32)),
        b=random.normal(0, 0.2, (1, 256)),
        gw=random.normal(0, 0.2, (24, 32)),
        gb=random.normal(0, 0.2, 24),
        m=random.normal(0, 0.2, (24, 4)),
    )
    for name, shape in (("shape", [5, 32]), ("shape4", [5, 1, 4])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape), name))
    onnx.save(model, str(tmp_path / "net.onnx"))
    done = export(
        tmp_path / "net.onnx", tmp_path / "out.onnx", precision="int8-dynamic", task="tensor"
    )
    made = onnx.load(str(done.output))
    kinds = Counter(node.op_type for node in made.graph.node)
    assert kinds["DynamicQuantizeLSTM"] == 1
    assert kinds["MatMulInteger"] == 2
    assert kinds["Gemm"] == kinds["MatMul"] == 0
    # Every column of the weights has a scale of its own.
    scales = {t.name: int(np.prod(t.dims)) for t in made.graph.initializer if "scale" in t.name}
    assert {24, 4} <= set(scales.values())
    assert done.output.stat().st_size < 0.5 * (tmp_path / "net.onnx").stat().st_size
    assert (done.spec.precision, done.target) == ("int8-dynamic", "x86-any")
    assert done.parity["outputs"]["y"]["max"] < 0.05


def test_int8_dynamic_says_where_it_has_nothing_to_do(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nothing for int8-dynamic.*Conv.*--calibration"):
        export(source, tmp_path / "out.onnx", precision="int8-dynamic")
    assert not (tmp_path / "out.onnx").exists()


def test_tensorrt_gets_symmetric_pairs_around_float_weights_and_no_integer_bias() -> None:
    model = narrowed("tensorrt")
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    assert not any(array.dtype == np.int32 for array in tensors.values())
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = tensors[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type == "Conv":
            data, weights = (makers[name] for name in node.input[:2])
            assert data.op_type == weights.op_type == "DequantizeLinear"
            # The weights are float, with both Q and DQ, one scale a channel.
            pair = makers[weights.input[0]]
            assert pair.op_type == "QuantizeLinear"
            assert tensors[pair.input[0]].dtype == np.float32
            assert tensors[pair.input[1]].shape == (4,)
            assert node.input[2] in tensors


def test_tensorrt_can_fuse_the_sum_with_the_convolution_before_it() -> None:
    model = narrowed("tensorrt")
    makers = {name: node for node in model.graph.node for name in node.output}
    add = next(node for node in model.graph.node if node.op_type == "Add")
    assert sorted(makers[name].op_type for name in add.input) == ["Conv", "DequantizeLinear"]


def test_tensorrt_gets_a_pair_for_a_sum_whose_other_side_nothing_else_narrows() -> None:
    random = np.random.default_rng(0)
    model = graph(
        """skip (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
          a = Tanh (x)
          b = Conv <pads = [1, 1, 1, 1]> (x, w)
          c = Add (b, a)
          y = Conv <pads = [1, 1, 1, 1]> (c, v)
        }""",
        **{name: random.normal(0, 0.2, (4, 4, 3, 3)) for name in "wv"},
    )
    data = ArrayCalibration({"x": noise(16, 4, 8, 8)}, {"x": 1})
    job = quantizer(clean(model), data, target="tensorrt", method="minmax", keep_last=False)
    built = job.build()
    makers = {name: node for node in built.graph.node for name in node.output}
    add = next(node for node in built.graph.node if node.op_type == "Add")
    assert [makers[name].op_type for name in add.input] == ["Conv", "DequantizeLinear"]
    x = noise(1, 4, 8, 8, seed=9)
    wanted, got = run(model, x=x), run(built, x=x)
    assert np.linalg.norm(wanted - got) / np.linalg.norm(wanted) < 0.05


def test_openvino_gets_unsigned_activations_signed_weights_and_float_biases() -> None:
    model = narrowed("openvino")
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert not any(array.dtype == np.int32 for array in tensors.values())
    zeros = {tensors[n.input[2]].dtype for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert zeros == {np.dtype(np.uint8)}
    weights = [array for array in tensors.values() if array.dtype == np.int8 and array.ndim == 4]
    assert len(weights) == 3


@pytest.mark.parametrize("target", ["x86-any", "x86-vnni", "arm", "tensorrt", "openvino"])
def test_every_target_computes_what_the_source_does(target: str) -> None:
    x = noise(1, 4, 8, 8, seed=9)
    wanted, got = run(residual(), x=x), run(narrowed(target), x=x)
    error = np.linalg.norm(wanted - got) / np.linalg.norm(wanted)
    assert 0 < error < (0.05 if target != "x86-any" else 0.08)


def test_smoothing_changes_nothing_but_where_outliers_are() -> None:
    random = np.random.default_rng(2)
    model = clean(
        graph(
            """net (float[1, 6, 16] x) => (float[1, 6, 8] y) {
              n = LayerNormalization (x, s, o)
              y = MatMul (n, w)
            }""",
            s=np.where(np.arange(16) == 3, 300.0, 1.0),
            o=random.normal(0, 1, 16),
            w=random.normal(0, 1, (16, 8)) * np.where(np.arange(16) == 3, 0.02, 1.0)[:, None],
        )
    )
    data = ArrayCalibration({"x": noise(16, 6, 16)}, {"x": 1})
    job = quantizer(model, data, target="x86-vnni", method="minmax", keep_last=False)
    other, count = smoothed(job.model, job.observed)
    assert count == 1
    x = noise(1, 6, 16, seed=4)
    np.testing.assert_allclose(run(other, x=x), run(model, x=x), rtol=1e-3, atol=1e-3)
    again = quantizer(other, data, target="x86-vnni", method="minmax", keep_last=False)
    wanted = run(model, x=x)
    plain, smooth = (np.abs(run(one.build(), x=x) - wanted).mean() for one in (job, again))
    assert smooth < 0.7 * plain


def test_corrected_biases_bring_means_back(tmp_path: Path) -> None:
    from edgeinfer_export.quantize.bias import corrected

    random = np.random.default_rng(7)
    # Inputs far from zero: rounding of weights does not cancel out.
    model = clean(
        graph(
            """net (float[1, 8, 6, 6] x) => (float[1, 4, 4, 4] y) { y = Conv (x, w, b) }""",
            w=random.normal(0, 1, (4, 8, 3, 3)),
            b=np.zeros(4),
        )
    )
    pictures = (3 + 0.1 * noise(16, 8, 6, 6)).astype(np.float32)
    data = ArrayCalibration({"x": pictures}, {"x": 1})
    job = quantizer(model, data, target="x86-any", method="minmax", keep_last=False)
    plain = job.build()
    other = type(job)(
        corrected(job.model, plain, job.observed), job.observed, job.target, job.method, job.head
    ).build()
    shifts = []
    for made in (plain, other):
        apart = [
            run(made, x=pictures[at : at + 1]) - run(model, x=pictures[at : at + 1])
            for at in range(16)
        ]
        shifts.append(float(np.abs(np.mean(apart, axis=(0, 1, 3, 4))).max()))
    assert shifts[1] < 0.35 * shifts[0]


def test_a_file_that_lost_too_much_of_its_numbers_is_not_written(tmp_path: Path) -> None:
    model = big_numbers()
    onnx.save(model, str(tmp_path / "big.onnx"))
    np.savez(tmp_path / "c.npz", noise(8, 8))
    with pytest.raises(CheckFailed, match=r"relative error.*0\.000% is allowed|0\.00% is allowed"):
        export(
            tmp_path / "big.onnx",
            tmp_path / "out.onnx",
            precision="int8-dynamic",
            calibration=tmp_path / "c.npz",
            task="tensor",
            max_drop=0.0,
        )
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("precision", "kind"), [("fp16", "Cast"), ("int8-dynamic", "DynamicQuantizeLSTM")]
)
def test_a_speech_detector_keeps_its_answers(
    realdata: Path, tmp_path: Path, precision: str, kind: str
) -> None:
    # Its LSTMs lie inside an If.
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "c.npz",
        input=random.normal(0, 0.1, (40, 576)).astype(np.float32),
        state=np.zeros((80, 1, 128), np.float32),
        sr=np.full(40, 16000),
    )
    done = export(
        realdata / "models" / "silero_vad_16k_op15.onnx",
        tmp_path / "out.onnx",
        precision=precision,
        calibration=tmp_path / "c.npz",
        task="tensor",
        max_drop=0.05,
    )
    assert kind in {node.op_type for node in nodes_of(onnx.load(str(done.output)).graph)}
    assert done.gate["loss"] < 0.05


def recurrent(kind: str, *, middle: bool) -> onnx.ModelProto:
    """A recurrent layer over ten steps, and one or two layers behind its last step."""
    random = np.random.default_rng(0)
    rows = {"GRU": 3, "LSTM": 4}[kind] * 16
    layers = "deep = MatMul (end, a)  out = MatMul (deep, b)" if middle else "out = MatMul (end, b)"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[10, 1, 8] x) => (float[1, 16] out) <int64 last = {{-1}}, int64[1] one = {{1}}> {{
          all_steps = {kind} <hidden_size = 16> (x, w, r)
          steps = Squeeze (all_steps, one)
          end = Gather <axis = 0> (steps, last)
          {layers}
        }}"""
    )
    shapes = {"w": (1, rows, 8), "r": (1, rows, 16), "a": (16, 16), "b": (16, 16)}
    for name, shape in shapes.items():
        if middle or name != "a":
            weights = random.normal(0, 0.3, shape).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(weights, name))
    return model


@pytest.mark.parametrize(
    ("kind", "precision", "advice"),
    [
        ("LSTM", "int8", "int8-dynamic, which narrows LSTM"),
        ("GRU", "int8", "fp16"),
        ("GRU", "int8-dynamic", "fp16"),
        ("LSTM", "int8-dynamic", None),
    ],
)
def test_recurrent_layers_that_stay_in_float_are_told(
    kind: str, precision: str, advice: str | None, tmp_path: Path
) -> None:
    onnx.save(recurrent(kind, middle=True), str(tmp_path / "net.onnx"))
    np.savez(tmp_path / "c.npz", noise(400, 1, 8))
    done = export(
        *(tmp_path / "net.onnx", tmp_path / "out.onnx"),
        precision=precision,
        calibration=tmp_path / "c.npz",
        task="tensor",
    )
    left = {node.name for node in onnx.load(str(done.output)).graph.node if node.op_type == kind}
    reasons = [one["nodes"] for one in done.float_reasons if one["why"] == "recurrent"]
    told = [note for note in done.notes if "of the weights stay in float32" in note]
    if advice is None:
        assert (left, reasons, told) == (set(), [], [])
        return
    assert left and reasons == [list(left)] and left <= set(done.kept_float)
    assert len(told) == 1 and kind in told[0] and advice in told[0]


@pytest.mark.parametrize(("kind", "advice"), [("LSTM", "int8-dynamic"), ("GRU", "fp16")])
def test_a_net_whose_only_other_layer_is_the_last_is_told_what_fits_it(
    kind: str, advice: str, tmp_path: Path
) -> None:
    onnx.save(recurrent(kind, middle=False), str(tmp_path / "net.onnx"))
    np.savez(tmp_path / "c.npz", noise(400, 1, 8))
    with pytest.raises(ModelFileError, match=f"are recurrent.*--precision {advice}"):
        export(
            *(tmp_path / "net.onnx", tmp_path / "out.onnx"),
            precision="int8",
            calibration=tmp_path / "c.npz",
            task="tensor",
        )
