"""The child that holds torch: ``python -m`` it, a command a line in, answers a line out.

Whatever the model's code prints goes to standard error; the answers have a pipe of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.machine import usable_cpus
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools import child_open
from edgeinfer_export.sources.torch_tools.child_convert import convert
from edgeinfer_export.sources.torch_tools.child_program import Program, first_line


class _Worker:
    def __init__(self) -> None:
        self.program: Program | None = None

    def open(self, job: Mapping[str, Any]) -> dict[str, Any]:
        torch = need("torch")
        torch.manual_seed(0)
        torch.set_num_threads(usable_cpus())
        program = _opener(job["kind"])(job)
        program.check()
        self.program = program
        return {
            "inputs": [
                {
                    "name": item.name,
                    "dtype": str(item.example.dtype).removeprefix("torch."),
                    "example": list(item.example.shape),
                    "dims": list(item.dims),
                }
                for item in program.inputs
            ],
            "outputs": list(program.outputs),
            "exporters": list(program.exporters),
            "fixed": program.fixed,
            "notes": program.notes,
            "spec": program.spec,
            "sha256": program.sha256,
            "versions": _versions(job["kind"]),
        }

    def convert(self, job: Mapping[str, Any]) -> dict[str, Any]:
        assert self.program is not None
        notes = convert(self.program, job["exporter"], Path(job["to"]))
        return {"notes": list(notes)}

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        import numpy as np
        import torch

        assert self.program is not None
        with np.load(job["inputs"], allow_pickle=False) as loaded:
            arrays = [loaded[f"arr_{number}"] for number in range(len(self.program.inputs))]
        try:
            found = self.program.run([torch.from_numpy(array) for array in arrays])
        except Exception as error:
            shapes = ", ".join(str(list(array.shape)) for array in arrays)
            raise ModelFileError(
                f"PyTorch cannot run the source on {shapes}: {first_line(error)}. Give typical "
                f"inputs with --calibration FILE.npz."
            ) from error
        np.savez(job["outputs"], *[tensor.detach().cpu().numpy() for _, tensor in found])
        return {}


def _opener(kind: str) -> Callable[[Mapping[str, Any]], Program]:
    if kind == "folder":
        from edgeinfer_export.sources.torch_tools import child_hugging_face

        return child_hugging_face.open_folder
    found: Callable[[Mapping[str, Any]], Program] = {
        "entry": child_open.open_entry,
        "pickled": child_open.open_pickled,
        "torchscript": child_open.open_torchscript,
        "pt2": child_open.open_program,
    }[kind]
    return found


def _versions(kind: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    names = ["torch", "onnxscript", "onnx", *(["transformers"] if kind == "folder" else [])]
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _serve(commands: queue.Queue[bytes], answers: IO[bytes]) -> None:
    worker = _Worker()
    while True:
        job = json.loads(commands.get())
        try:
            answer = {"open": worker.open, "convert": worker.convert, "run": worker.run}[job["do"]](
                job
            )
        except EdgeInferError as error:
            answer = {"raised": type(error).__name__, "text": str(error)}
        except (Exception, SystemExit) as error:
            answer = {
                "raised": "ModelFileError",
                "text": f"PyTorch failed on this model: {first_line(error)}.",
            }
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _listen(commands: queue.Queue[bytes]) -> None:
    """Hand commands on; when the parent is gone, end at once, whatever is being computed."""
    for line in sys.stdin.buffer:
        commands.put(line)
    shutil.rmtree(os.getcwd(), ignore_errors=True)
    os._exit(0)


def main() -> None:
    """Serve until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    commands: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    _serve(commands, answers)


if __name__ == "__main__":
    main()
