"""Runs in TensorFlow's room: one TFLite file per case, each a few operators on a small input.

Request: ``folder``. Answer: the names of the cases, by the form of their numbers.
"""

import os

import numpy as np
import roomkit
import tensorflow as tf

SEEDED = np.random.default_rng(7)
PICTURE = (1, 8, 6, 4)


def weights(*shape):
    return tf.constant(SEEDED.normal(0, 0.5, shape).astype(np.float32))


W33 = weights(3, 3, 4, 8)
DEPTH = weights(3, 3, 4, 2)
GROUPED = weights(3, 3, 2, 8)
BACK = weights(3, 3, 5, 4)
BIAS = weights(8)
DENSE = weights(4, 7)
SLOPES = weights(8)


def conv(x, **options):
    options.setdefault("strides", 1)
    options.setdefault("padding", "SAME")
    return tf.nn.bias_add(tf.nn.conv2d(x, W33, **options), BIAS)


def after_conv(operation):
    """An operator between two convolutions: it meets the layout that they use."""
    return lambda x: operation(conv(x))


def back(x, padding, strides, size):
    return tf.nn.conv2d_transpose(x, BACK, (1, *size, 5), strides, padding)


PICTURES = {
    "conv_same": conv,
    "conv_valid_stride": lambda x: tf.nn.relu(conv(x, strides=2, padding="VALID")),
    "conv_same_stride": lambda x: tf.nn.relu6(conv(x, strides=2)),
    "conv_dilated": lambda x: conv(x, dilations=2),
    "conv_grouped": lambda x: tf.nn.conv2d(x, GROUPED, 1, "SAME"),
    "depthwise": lambda x: tf.nn.depthwise_conv2d(x, DEPTH, (1, 2, 2, 1), "SAME"),
    "depthwise_dilated": lambda x: tf.nn.depthwise_conv2d(
        x, DEPTH, (1, 1, 1, 1), "SAME", dilations=(2, 2)
    ),
    "transpose_same": lambda x: back(x, "SAME", 2, (16, 12)),
    "transpose_valid": lambda x: back(x, "VALID", 2, (17, 13)),
    "average_pool": after_conv(lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME")),
    "max_pool": after_conv(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")),
    "global_mean": after_conv(lambda x: tf.reduce_mean(x, (1, 2))),
    "global_mean_kept": after_conv(lambda x: x * tf.reduce_mean(x, (1, 2), keepdims=True)),
    "mean_channels": after_conv(lambda x: tf.reduce_mean(x, 3)),
    "flatten_dense": lambda x: tf.matmul(tf.reshape(conv(x), (48 * 2, 4)), DENSE),
    "add_broadcast": after_conv(lambda x: x + SLOPES),
    "residual": after_conv(lambda x: tf.nn.relu(x + conv(x[..., :4]))),
    "prelu": after_conv(lambda x: tf.maximum(x, 0.0) + SLOPES * tf.minimum(x, 0.0)),
    "leaky": after_conv(lambda x: tf.nn.leaky_relu(x, 0.1)),
    "hard_swish": after_conv(lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6)),
    "swish": after_conv(lambda x: x * tf.sigmoid(x)),
    "concat_channels": after_conv(lambda x: tf.concat([x, tf.nn.relu(x), x], 3)),
    "concat_rows": after_conv(lambda x: tf.concat([x, tf.nn.relu(x)], 1)),
    "split_channels": after_conv(lambda x: tf.concat(tf.split(x, 4, 3)[::-1], 3)),
    "split_uneven": after_conv(lambda x: tf.concat(tf.split(x, [3, 5], 3)[::-1], 3)),
    "pad": after_conv(lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))),
    "pad_value": after_conv(
        lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 3)), constant_values=1.5)
    ),
    "mirror_pad": after_conv(lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), "REFLECT")),
    "slice_channels": after_conv(lambda x: x[:, 1:7:2, :, 2:5]),
    "slice_row": after_conv(lambda x: x[:, 2]),
    "slice_backwards": after_conv(lambda x: x[:, ::-1, :, 3]),
    "slice_sizes": after_conv(lambda x: tf.slice(x, (0, 1, 2, 3), (1, 5, -1, 2))),
    "to_nchw": after_conv(lambda x: tf.transpose(x, (0, 3, 1, 2))),
    "swapped_axes": after_conv(lambda x: tf.transpose(x, (0, 2, 1, 3))),
    "depth_to_space": after_conv(lambda x: tf.nn.depth_to_space(x, 2)),
    "space_to_depth": after_conv(lambda x: tf.nn.space_to_depth(x, 2)),
    "space_to_batch": after_conv(
        lambda x: tf.batch_to_space(
            tf.square(tf.space_to_batch(x, (2, 2), ((0, 0), (1, 1)))), (2, 2), ((0, 0), (1, 1))
        )
    ),
    "resize_bilinear": after_conv(lambda x: tf.image.resize(x, (16, 12))),
    "resize_bilinear_down": after_conv(lambda x: tf.image.resize(x, (5, 4))),
    "resize_corners": after_conv(
        lambda x: tf.compat.v1.image.resize_bilinear(x, (15, 11), align_corners=True)
    ),
    "resize_old": after_conv(lambda x: tf.compat.v1.image.resize_bilinear(x, (16, 12))),
    "resize_nearest": after_conv(lambda x: tf.image.resize(x, (16, 12), "nearest")),
    "resize_nearest_odd": after_conv(lambda x: tf.image.resize(x, (13, 7), "nearest")),
    "resize_nearest_old": after_conv(
        lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (16, 12))
    ),
    "softmax": after_conv(lambda x: tf.nn.softmax(x)),
    "l2_normalize": after_conv(lambda x: tf.math.l2_normalize(x, 3)),
    "lrn": after_conv(lambda x: tf.nn.local_response_normalization(x, 2, 1.0, 0.1, 0.5)),
    "argmax": after_conv(lambda x: tf.argmax(x, 3, tf.int32)),
    "two_outputs": after_conv(lambda x: (tf.reduce_max(x, (1, 2)), tf.nn.sigmoid(x))),
    "fake_quant": after_conv(lambda x: tf.quantization.fake_quant_with_min_max_args(x, -2, 3)),
}

ROWS = {
    "dense": lambda x: tf.nn.relu(tf.matmul(x, DENSE) + 1.0),
    "tanh_sigmoid": lambda x: tf.tanh(x) * tf.sigmoid(x),
    "elu_gelu": lambda x: tf.nn.elu(x) + tf.nn.gelu(x),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "log_softmax": lambda x: tf.nn.log_softmax(x),
    "roots": lambda x: tf.sqrt(tf.abs(x)) + tf.math.rsqrt(tf.abs(x) + 1.0) + tf.square(x),
    "exp_log": lambda x: tf.exp(x) + tf.math.log(tf.abs(x) + 1.0) - tf.pow(tf.abs(x), 1.5),
    "rounding": lambda x: tf.floor(x * 3) + tf.math.ceil(x * 3) + tf.round(x * 3) + tf.sign(x),
    "waves": lambda x: tf.sin(x) + tf.cos(x) - tf.negative(x),
    "divisions": lambda x: tf.math.floordiv(x, 0.3) + tf.math.floormod(x, 0.3) + x / 0.7,
    "differences": lambda x: tf.math.squared_difference(x, 0.5) + tf.minimum(x, 0.1),
    "comparisons": lambda x: tf.where(
        tf.logical_and(tf.greater(x, -1.0), tf.logical_not(tf.less_equal(x, 0.0))), x, x * 2.0
    ),
    "not_equal": lambda x: tf.cast(tf.not_equal(tf.round(x), 0.0), tf.float32),
    "reductions": lambda x: tf.stack(
        [tf.reduce_sum(x, 1), tf.reduce_max(x, 1), tf.reduce_min(x, 1), tf.reduce_prod(x, 1)], 1
    ),
    "unstack": lambda x: tf.unstack(x, axis=1)[2] + tf.unstack(x, axis=1)[0],
    "gather": lambda x: tf.gather(x, [3, 1, 1], axis=1),
    "gather_nd": lambda x: tf.gather_nd(x, [[0, 1], [2, 3]]),
    "top_k": lambda x: tf.nn.top_k(x, 2),
    "one_hot": lambda x: tf.one_hot(tf.argmax(x, 1, tf.int32), 4, 2.0, -1.0),
    "tile": lambda x: tf.tile(x, (1, 3)),
    "reverse": lambda x: tf.reverse(x, [1]),
    "cumsum": lambda x: tf.cumsum(x, 1, exclusive=True, reverse=True),
    "expand": lambda x: (
        tf.squeeze(tf.expand_dims(x, 1) * tf.ones((1, 2, 1)), 0)[0]
        if x.shape[0] == 1
        else tf.expand_dims(x, 1) * tf.ones((1, 2, 1))
    ),
    "integers": lambda x: tf.cast(x * 10, tf.int32) // 3 + tf.cast(x * 10, tf.int32) % 4,
    "batch_matmul": lambda x: tf.matmul(
        tf.reshape(x, (3, 2, 2)), tf.reshape(x * 2.0, (3, 2, 2)), transpose_b=True
    ),
    "clips": lambda x: tf.clip_by_value(x, -1.0, 1.0) + tf.nn.relu6(x),
    "add_n": lambda x: tf.add_n([x, x * 2.0, tf.abs(x)]),
}
QUANTIZED = (
    "conv_same", "conv_same_stride", "depthwise", "transpose_same", "average_pool", "max_pool",
    "global_mean", "add_broadcast", "residual", "hard_swish", "swish", "concat_channels", "pad",
    "slice_channels", "resize_bilinear", "resize_nearest", "softmax", "leaky", "flatten_dense",
    "split_channels",
)  # fmt: skip


def convert(function, shape, form):
    spec = tf.TensorSpec(shape, tf.float32, name="x")
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if form != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form in ("int8", "uint8"):
        random = np.random.default_rng(3)
        converter.representative_dataset = lambda: (
            [random.normal(size=shape).astype(np.float32)] for _ in range(20)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        kind = tf.int8 if form == "int8" else tf.uint8
        converter.inference_input_type = converter.inference_output_type = kind
    if form == "int16":
        random = np.random.default_rng(3)
        converter.representative_dataset = lambda: (
            [random.normal(size=shape).astype(np.float32)] for _ in range(20)
        )
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    return converter.convert()


def recurrent():
    """A Keras LSTM, which the converter makes one operator of."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((9, 5), batch_size=1),
            tf_keras.layers.LSTM(6, return_sequences=True),
            tf_keras.layers.LSTM(4),
            tf_keras.layers.Dense(3),
        ]
    )
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def job(request, say):
    made = {}
    cases = [(name, function, PICTURE) for name, function in PICTURES.items()]
    cases += [(name, function, (3, 4)) for name, function in ROWS.items()]
    for name, function, shape in cases:
        forms = ["float"]
        if name in QUANTIZED:
            forms += ["int8"]
        if name == "residual":
            forms += ["uint8", "float16", "dynamic", "int16"]
        for form in forms:
            path = os.path.join(request["folder"], "%s.%s.tflite" % (name, form))
            with open(path, "wb") as file:
                file.write(convert(function, shape, form))
            made.setdefault(form, []).append(name)
    with open(os.path.join(request["folder"], "lstm.float.tflite"), "wb") as file:
        file.write(recurrent())
    made["float"].append("lstm")
    return made, None


if __name__ == "__main__":
    roomkit.serve(job)
