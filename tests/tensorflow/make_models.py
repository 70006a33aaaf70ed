"""Runs in TensorFlow's room: Keras files, SavedModels and frozen graphs, good and bad.

Request: ``folder``.
"""

import os

import numpy as np
import roomkit
import tensorflow as tf


def branches(library):
    """Two inputs, two outputs, batch norm between: every kind of layer that pictures need."""
    layers = library.layers
    library.utils.set_random_seed(5)
    picture = library.Input((16, 12, 3), name="picture")
    extra = library.Input((4,), name="extra")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(picture)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(max_value=6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, y])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2)(x)
    z = layers.GlobalAveragePooling2D()(x)
    both = layers.Concatenate()([z, layers.Dense(3, activation="tanh")(extra)])
    first = layers.Dense(5, activation="softmax", name="classes")(both)
    second = layers.Conv2D(2, 1, name="map")(x)
    model = library.Model([picture, extra], [first, second])
    for weight in model.weights:  # batch norms that do something
        if "moving" in weight.name:
            weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
    return model


def recurrent(library):
    layers = library.layers
    library.utils.set_random_seed(6)
    return library.Sequential(
        [
            library.Input((7, 5), name="series"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2, name="score"),
        ]
    )


def with_lambda(library):
    return library.Sequential(
        [library.Input((4,)), library.layers.Lambda(lambda x: x * 2.0, name="doubled")]
    )


def with_custom(library):
    class Swirl(library.layers.Layer):
        def call(self, x):
            return x + 1.0

    return library.Sequential([library.Input((4,)), Swirl(name="twist")])


def keras_files(folder):
    import keras
    import tf_keras

    branches(tf_keras).save(os.path.join(folder, "branches2.h5"))
    branches(keras).save(os.path.join(folder, "branches3.keras"))
    branches(keras).save(os.path.join(folder, "branches3.h5"))
    branches(tf_keras).save(os.path.join(folder, "branches2.keras"))
    recurrent(tf_keras).save(os.path.join(folder, "recurrent2.h5"))
    recurrent(keras).save(os.path.join(folder, "recurrent3.keras"))
    branches(tf_keras).save_weights(os.path.join(folder, "weights2.h5"))
    branches(keras).save_weights(os.path.join(folder, "only.weights.h5"))
    for name, make in (("lambda", with_lambda), ("custom", with_custom)):
        make(keras).save(os.path.join(folder, name + "3.keras"))
        make(tf_keras).save(os.path.join(folder, name + "2.h5"))
    branches(keras).export(os.path.join(folder, "exported"), verbose=False)


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(np.random.default_rng(2).normal(size=(3, 3, 3, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="pixels")])
    def serve(self, pixels):
        x = tf.nn.relu(tf.nn.conv2d(pixels, self.w, 1, "SAME"))
        return {"mean": tf.reduce_mean(x, (1, 2)), "best": tf.argmax(x, 3, tf.int32)}

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
    def other(self, x):
        return {"y": x + self.w[0, 0, 0, 0]}

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
    def python(self, x):
        return {"y": tf.numpy_function(lambda v: v * 2, [x], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32, name="x")])
    def odd(self, x):
        return {"y": tf.math.betainc(tf.abs(x) + self.w[0, 0, 0, 0] ** 2, 2.0, 0.5)}


def saved_models(folder):
    def save(name, signatures):
        tf.saved_model.save(module, os.path.join(folder, name), signatures=signatures)

    module = Module()
    save("served", {"serving_default": module.serve, "other": module.other})
    save("single", {"classify": module.serve})
    save("several", {"one": module.serve, "two": module.other})
    save("unsigned", None)
    save("python", {"serving_default": module.python})
    save("odd", {"serving_default": module.odd})


def graphs(folder):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    module = Module()
    frozen = convert_variables_to_constants_v2(module.serve.get_concrete_function())
    with open(os.path.join(folder, "frozen.pb"), "wb") as file:
        file.write(frozen.graph.as_graph_def().SerializeToString())
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2), "x")
        weight = tf.compat.v1.get_variable("weight", (2, 2), use_resource=False)
        tf.matmul(x, weight, name="y")
    with open(os.path.join(folder, "variables.pb"), "wb") as file:
        file.write(graph.as_graph_def().SerializeToString())
    with tf.Graph().as_default() as graph:
        tf.constant([1.0], name="alone")
    with open(os.path.join(folder, "constants.pb"), "wb") as file:
        file.write(graph.as_graph_def().SerializeToString())


def job(request, say):
    keras_files(request["folder"])
    saved_models(request["folder"])
    graphs(request["folder"])
    return sorted(os.listdir(request["folder"])), None


if __name__ == "__main__":
    roomkit.serve(job)
