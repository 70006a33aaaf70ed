"""Run a TFLite file on Google's own interpreter. Inputs and outputs are real numbers.

Request: ``path``; ``inputs`` and ``outputs``: names, in the file's order.
"""

import numpy as np
import roomkit


def open_model(request, say):
    from importlib import metadata

    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=request["path"], num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise roomkit.Refusal("LiteRT cannot open the file: %s" % error)
    given = dict(zip(request["inputs"], interpreter.get_input_details()))
    made = dict(zip(request["outputs"], interpreter.get_output_details()))

    def run(inputs):
        changed = False
        for name, value in inputs.items():
            if list(given[name]["shape"]) != list(value.shape):
                interpreter.resize_tensor_input(given[name]["index"], value.shape)
                changed = True
        try:
            if changed:
                interpreter.allocate_tensors()
                given.update(zip(request["inputs"], interpreter.get_input_details()))
            for name, value in inputs.items():
                interpreter.set_tensor(given[name]["index"], stored(given[name], value))
            interpreter.reset_all_variables()  # each call starts anew, as the ONNX graph does
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise roomkit.Refusal("LiteRT cannot run the model on these inputs: %s" % error)
        return {
            name: real(detail, interpreter.get_tensor(detail["index"]))
            for name, detail in made.items()
        }

    return {"name": "LiteRT " + metadata.version("ai-edge-litert")}, run


def stored(detail, value):
    """What the interpreter takes for real numbers."""
    scale, zero = detail["quantization"]
    kind = detail["dtype"]
    if not scale or not np.issubdtype(kind, np.integer):
        return value.astype(kind)
    bounds = np.iinfo(kind)
    return np.clip(np.rint(value / scale) + zero, bounds.min, bounds.max).astype(kind)


def real(detail, value):
    """The real numbers that the interpreter's stand for."""
    scale, zero = detail["quantization"]
    if not scale or not np.issubdtype(detail["dtype"], np.integer):
        return value
    return ((value.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)


if __name__ == "__main__":
    roomkit.serve(open_model)
