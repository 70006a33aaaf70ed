"""Convert a TensorFlow or Keras model to ONNX with tf2onnx, then run the source itself.

Request: ``kind`` (``keras``, ``saved_model``, ``frozen``); ``path``; ``onnx``: where the graph
goes; ``opset``; ``shapes``: input name to sizes; ``trust``: whether code in the file may run.
Answer: ``name``, ``inputs``, ``outputs``, ``versions``, ``notes``.
"""

import itertools

import roomkit
import tensorflow as tf
import tf_graphs


def open_model(request, say):
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_inter_op_parallelism_threads(1)
    say("TensorFlow %s reads the model" % tf.__version__)
    opened = _open(request)
    say("tf2onnx converts it")
    model = convert(opened, request["opset"], request["shapes"])
    with open(request["onnx"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    names = [name for name, _ in opened.inputs]

    def run(inputs):
        arguments = [tf.constant(inputs[name]) for name in names]
        try:
            made = _call(opened, arguments)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            lines = str(error).splitlines()
            raise roomkit.Refusal("TensorFlow cannot run the model on these inputs: %s" % lines[0])
        return dict(zip([name for name, _ in opened.outputs], made))

    import tf2onnx

    return {
        "name": opened.title,
        "inputs": names,
        "outputs": [name for name, _ in opened.outputs],
        "versions": {"tensorflow": tf.__version__, "tf2onnx": tf2onnx.__version__},
    }, run


def _open(request):
    shapes, path = request["shapes"], request["path"]
    if request["kind"] == "keras":
        import tf_keras_files

        model, title = tf_keras_files.open_keras(path, request["trust"], shapes)
        return tf_graphs.from_keras(model, title, shapes)
    if request["kind"] == "saved_model":
        return tf_graphs.from_saved_model(path, shapes)
    return tf_graphs.from_frozen(path, shapes)


def _call(opened, arguments):
    """Run the function; values in the order of `opened.outputs`."""
    if isinstance(opened.function.structured_outputs, dict):
        made = opened.function(**dict(zip([name for name, _ in opened.inputs], arguments)))
        return [made[name].numpy() for name, _ in opened.outputs]
    made = tf.nest.flatten(opened.function(*arguments))
    return [value.numpy() for value in made]


def convert(opened, opset, shapes):
    """The ONNX model, its ends named as people know them."""
    from tf2onnx import convert as converter
    from tf2onnx import tf_loader

    number_nodes()
    ins = [tensor for _, tensor in opened.inputs]
    outs = [tensor for _, tensor in opened.outputs]
    if opened.variables:
        graph_def = tf_loader.from_function(opened.function, ins, outs)
    else:
        with tf.Graph().as_default():
            tf.graph_util.import_graph_def(opened.holder, name="")
            graph_def = tf_loader.tf_optimize(ins, outs, opened.holder)
    tf_graphs.check_ops(graph_def)
    renamed = {tensor: name for name, tensor in opened.inputs + opened.outputs}
    if len(set(renamed.values())) != len(renamed):  # an input that is called like an output
        renamed = {tensor: name for name, tensor in opened.inputs}
        renamed.update({tensor: name + "_out" for name, tensor in opened.outputs})
        opened.outputs = [(name + "_out", tensor) for name, tensor in opened.outputs]
    wanted = {
        tensor: [size if isinstance(size, int) else None for size in shapes[name]]
        for name, tensor in opened.inputs
        if name in shapes
    }
    model, _ = converter._convert_common(
        graph_def,
        name="model",
        continue_on_error=True,
        opset=opset,
        input_names=ins,
        output_names=outs,
        shape_override=wanted or None,
        tensors_to_rename=renamed,
    )
    check_nodes(model)
    tidy(model, shapes)
    return model


def number_nodes():
    """Let sets of tf2onnx's nodes have one order, that in which the nodes were made.

    By themselves they lie in sets by their addresses, which change from run to run. Its optimizers
    walk such sets and keep the first of equal nodes, so that names and nodes changed with them.
    """
    from tf2onnx import graph

    if "__hash__" in vars(graph.Node):  # done before in this process
        return
    count, make = itertools.count(), graph.Node.__init__

    def numbered(self, *args, **given):
        self.edgeinfer_number = next(count)
        make(self, *args, **given)

    graph.Node.__init__ = numbered
    graph.Node.__hash__ = lambda self: self.edgeinfer_number


def check_nodes(model):
    """Name what tf2onnx handed through unconverted."""
    import onnx

    missing = {}
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx"):
            if not onnx.defs.has(node.op_type):
                missing.setdefault(node.op_type, node.name)
        else:
            missing.setdefault(node.op_type, node.name)
    if missing:
        listed = ["%s (at '%s')" % pair for pair in sorted(missing.items())]
        raise roomkit.Refusal(
            "operators that are not supported: %s. They have no counterpart in ONNX; leave them "
            "out of the exported signature, or do their work outside the model"
            % ", ".join(listed[:6])
        )


def tidy(model, shapes):
    """Open sizes get names that people know; what tf2onnx noted about shapes inside goes."""
    del model.graph.value_info[:]
    for value in model.graph.input:
        given = shapes.get(value.name)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                named = given[axis] if given and isinstance(given[axis], str) else None
                dim.dim_param = named or ("batch" if axis == 0 else "%s_%d" % (value.name, axis))
    for value in model.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_param"):
                dim.dim_param = "batch" if axis == 0 else "%s_%d" % (value.name, axis)
    used = {node.domain or "" for node in model.graph.node}
    kept = [item for item in model.opset_import if item.domain in used | {"", "ai.onnx"}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.graph.doc_string = ""


if __name__ == "__main__":
    roomkit.serve(open_model)
