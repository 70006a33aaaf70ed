"""MXNet models as MXNet computes them."""

import numpy

# MXNet 1.9 still says what NumPy dropped.
for _old, _new in (("bool", bool), ("int", int), ("float", float), ("object", object)):
    if _old not in vars(numpy):
        setattr(numpy, _old, _new)

import mxnet  # noqa: E402
import roomkit  # noqa: E402


def open_model(request, say):
    """Open a symbol with its parameters."""
    symbol = mxnet.sym.load(request["files"][0])
    saved = mxnet.nd.load(request["files"][1])
    # A file without names is loaded as a list: that of a network without parameters.
    named = saved.items() if isinstance(saved, dict) else ()
    values = {name.split(":", 1)[-1]: value for name, value in named}
    aux = symbol.list_auxiliary_states()
    names, wanted = list(request["outputs"]), list(request["outputs"].values())
    group = mxnet.sym.Group([symbol[number] for number in wanted])

    def run(inputs):
        shapes = {name: value.shape for name, value in inputs.items()}
        arguments, _, _ = group.infer_shape_partial(**shapes)
        given = {name: mxnet.nd.array(value) for name, value in inputs.items()}
        for name, shape in zip(group.list_arguments(), arguments, strict=True):
            if name not in given:
                given[name] = values[name] if name in values else mxnet.nd.zeros(shape)
        executor = group.bind(
            mxnet.cpu(), given, aux_states={n: values[n] for n in aux if n in values}
        )
        made = executor.forward(is_train=False)
        return {name: value.asnumpy() for name, value in zip(names, made, strict=True)}

    return {"name": "MXNet %s" % mxnet.__version__}, run


if __name__ == "__main__":
    roomkit.serve(open_model)
