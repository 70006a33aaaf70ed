"""Runs in LiteRT's room: what Google's interpreter answers to many files at once.

Request: ``folder`` of files; ``inputs``, ``outputs``: names by file; ``shapes``: of the one input.
"""

import os

import litert_reference
import numpy as np
import roomkit


def job(request, say):
    for name, shape in request["shapes"].items():
        path = os.path.join(request["folder"], name)
        order = {"path": path, "inputs": ["x"], "outputs": request["outputs"][name]}
        _, run = litert_reference.open_model(order, say)
        answers = {}
        for seed in range(3):
            x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            for number, value in enumerate(run({"x": x}).values()):
                answers[str(seed) + "_" + str(number)] = value
        np.savez(path + ".npz", **answers)
    return {}, None


if __name__ == "__main__":
    roomkit.serve(job)
