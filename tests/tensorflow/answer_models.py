"""Runs in TensorFlow's room: converts many models in one process, and runs each of them.

Request: ``folder``; ``cases``: name to what tensorflow_model.py is asked besides. Answer: by name,
what it said or refused; the graph and the answers lie beside the model.
"""

import os

import numpy as np
import roomkit
import tensorflow_model


def job(request, say):
    return {
        name: one(request["folder"], name, case) for name, case in request["cases"].items()
    }, None


def one(folder, name, case):
    base = os.path.join(folder, name.replace("/", "_"))
    order = {"path": os.path.join(folder, case["file"]), "onnx": base + ".onnx", "opset": 17}
    order.update(kind=case["kind"], shapes=case["shapes"], trust=case["trust"])
    try:
        answer, run = tensorflow_model.open_model(order, lambda text: None)
        inputs = {
            given: np.random.default_rng(number).normal(size=shape).astype(np.float32)
            for number, (given, shape) in enumerate(case["inputs"].items())
        }
        np.savez(base + ".npz", *run(inputs).values())
    except roomkit.Refusal as refusal:
        return {"refused": str(refusal)}
    return answer


if __name__ == "__main__":
    roomkit.serve(job)
