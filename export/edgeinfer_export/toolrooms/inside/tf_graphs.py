"""Open SavedModels, frozen graphs and Keras models as functions of TensorFlow."""

import roomkit
import tensorflow as tf

# They run Python or touch files: no model that computes needs them.
_HARMFUL = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "ReadFile", "WriteFile", "MatchingFiles")
_NO_OUTPUT = ("NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault", "Print")


class Opened:
    """A function and its ends.

    `inputs` and `outputs` are pairs: what people call it, and the tensor's name in the graph.
    """

    def __init__(self, function, inputs, outputs, title, holder=None, variables=True):
        self.function = function
        self.inputs = inputs
        self.outputs = outputs
        self.title = title
        self.holder = holder  # keeps the variables alive
        self.variables = variables


def from_keras(model, title, shapes):
    """A Keras model's inference."""
    new = title.split()[1].split(".")[0] == "3"
    names = [_plain(t.name) for t in model.inputs] if new else list(model.input_names)
    specs = []
    for name, tensor in zip(names, model.inputs):
        shape = fitted(name, list(tensor.shape), shapes)
        dtype = tensor.dtype
        specs.append(tf.TensorSpec(shape, dtype, name=_plain(name)))
    check_names(shapes, names)

    @tf.function(input_signature=specs, autograph=False)
    def infer(*args):
        return model(list(args) if len(args) > 1 else args[0], training=False)

    function = infer.get_concrete_function()
    tensors = [t for t in function.inputs if t.dtype != tf.resource][: len(names)]
    outputs = [t for t in function.outputs if t.dtype != tf.resource]
    called = [t._keras_history.operation.name for t in model.outputs] if new else None
    called = called or list(model.output_names)
    if len(called) != len(outputs) or len(set(called)) != len(called):
        called = ["output%d" % i for i in range(len(outputs))]
    return Opened(
        function,
        list(zip(names, [t.name for t in tensors])),
        list(zip(called, [t.name for t in outputs])),
        title,
        (model, infer),
    )


def from_saved_model(path, shapes):
    """The serving signature of a SavedModel."""
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:
        raise roomkit.Refusal("TensorFlow cannot load the SavedModel: %s" % _first(error))
    signatures = dict(loaded.signatures)
    if not signatures:
        raise roomkit.Refusal(
            "the SavedModel has no signature: save it with tf.saved_model.save(model, folder, "
            "signatures=...), or model.export(folder) in Keras"
        )
    key = "serving_default" if "serving_default" in signatures else None
    if key is None and len(signatures) == 1:
        key = next(iter(signatures))
    if key is None:
        raise roomkit.Refusal(
            "the SavedModel has several signatures (%s) and none is serving_default: save it with "
            "the one that shall be exported" % ", ".join(sorted(signatures))
        )
    function = signatures[key]
    given = function.structured_input_signature[1]
    check_names(shapes, list(given))
    tensors = {_plain(t.name): t for t in function.inputs if t.dtype != tf.resource}
    inputs = []
    for name, spec in sorted(given.items()):  # a signature is a map: it has no order
        # Arguments are named after the signature, with the signature's key before.
        tensor = tensors.get(_plain(spec.name), tensors.get("%s_%s" % (key, name)))
        if tensor is None:  # TensorFlow 1 named them as it liked, in the keywords' order
            tensor = dict(zip(function._arg_keywords or (), function.inputs)).get(name)
        if tensor is None:
            raise roomkit.Refusal("the signature's input '%s' is not in the graph" % name)
        fitted(name, spec.shape.as_list() if spec.shape.rank is not None else None, shapes)
        inputs.append((name, tensor.name))
    made = function.structured_outputs
    by_value = dict(zip(sorted(made), function.outputs)) if isinstance(made, dict) else {}
    outputs = [(name, by_value[name].name) for name in sorted(by_value)]
    if not outputs:
        raise roomkit.Refusal("the signature '%s' has no outputs" % key)
    return Opened(function, inputs, outputs, "TensorFlow " + tf.__version__, loaded)


def from_frozen(path, shapes):
    """A graph whose weights are constants; its ends are found by what nobody makes or reads."""
    graph_def = tf.compat.v1.GraphDef()
    try:
        with open(path, "rb") as file:
            graph_def.ParseFromString(file.read())
    except Exception as error:
        raise roomkit.Refusal("the graph is cut off or damaged (%s)" % _first(error))
    check_ops(graph_def)
    variables = [
        n.name for n in graph_def.node if n.op in ("VariableV2", "Variable", "VarHandleOp")
    ]
    if variables:
        raise roomkit.Refusal(
            "the graph is not frozen: its weights are variables (%s, ...) that lie elsewhere. "
            "Give the SavedModel folder, or freeze it with its checkpoint" % variables[0]
        )
    ins, outs = ends_of(graph_def)
    check_names(shapes, ins)

    def load():
        tf.graph_util.import_graph_def(graph_def, name="")

    try:
        wrapped = tf.compat.v1.wrap_function(load, [])
    except Exception as error:
        raise roomkit.Refusal("TensorFlow cannot load the graph: %s" % _first(error))
    graph = wrapped.graph
    feeds = [graph.get_tensor_by_name(name + ":0") for name in ins]
    fetches = [t for name in outs for t in graph.get_operation_by_name(name).outputs]
    for name, tensor in zip(ins, feeds):
        fitted(name, tensor.shape.as_list() if tensor.shape.rank is not None else None, shapes)
    function = wrapped.prune(feeds, fetches)
    return Opened(
        function,
        [(name, name + ":0") for name in ins],
        [(t.name[:-2] if t.name.endswith(":0") else t.name, t.name) for t in fetches],
        "TensorFlow " + tf.__version__,
        graph_def,
        variables=False,
    )


def ends_of(graph_def):
    """Placeholders, and the nodes that nobody reads."""
    read = set()
    for node in graph_def.node:
        for name in node.input:
            read.add(name.lstrip("^").split(":")[0])
    ins = [n.name for n in graph_def.node if n.op in ("Placeholder", "PlaceholderWithDefault")]
    outs = [n.name for n in graph_def.node if n.name not in read and n.op not in _NO_OUTPUT]
    if not ins or not outs:
        raise roomkit.Refusal(
            "the graph has %s: it is no graph for inference"
            % ("no placeholders for inputs" if not ins else "no outputs")
        )
    return ins, outs


def check_ops(graph_def):
    """Refuse what runs Python or touches files."""
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes.extend(function.node_def)
    bad = ["%s ('%s')" % (node.op, node.name) for node in nodes if node.op in _HARMFUL]
    if bad:
        raise roomkit.Refusal(
            "operators that run Python or touch files cannot be exported: %s" % ", ".join(bad[:5])
        )


def fitted(name, shape, shapes):
    """A shape with what the user said about it; None where it stays open."""
    given = shapes.get(name)
    if given is None:
        return shape
    fits = shape is None or (
        len(shape) == len(given) and all(s is None or s == g for s, g in zip(shape, given))
    )
    if not fits:
        raise roomkit.Refusal(
            "the input '%s' is %s and cannot become %s: what the model fixes stays"
            % (name, shape, list(given))
        )
    return [None if isinstance(size, str) else size for size in given]


def check_names(shapes, names):
    for name in shapes:
        if name not in names:
            raise roomkit.Refusal(
                "the model has no input '%s'; its inputs are: %s" % (name, ", ".join(names))
            )


def _plain(name):
    return name.split(":")[0]


def _first(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "%s: %s" % (type(error).__name__, lines[0][:300] if lines else "")
