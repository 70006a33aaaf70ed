"""What every script in a room shares: it speaks JSON lines with the process that started it.

Runs on every Python from 3.6, needs numpy for arrays only, and nothing of edgeinfer. A script is

    import roomkit

    def open_model(request, say):                  # request: the JSON that the parent sent
        say("reading")                             # one line for the user
        def run(inputs):                           # {name: array} -> {name: array}
            return {"y": inputs["x"] * 2}
        return {"name": "numpy 1.26"}, run         # the answer (JSON), and what runs the model

    if __name__ == "__main__":
        roomkit.serve(open_model)

A script that answers once returns None in place of `run`. What it prints goes to stderr: its last
line is told when it dies. `Refusal` is for what the user can understand without a traceback.
"""

import json
import os
import sys
import threading


class Refusal(Exception):
    """One sentence for the user: what happened, the value, what to do."""


def serve(open_model):
    """Answer the parent until it closes its end."""
    speak = _take_stdout()
    lines = _Lines()
    request = json.loads(lines.next())
    answer, run = _guarded(speak, open_model, request, lambda text: speak({"say": str(text)}))
    speak({"answer": answer})
    while run is not None:
        line = lines.next()
        order = json.loads(line)
        _guarded(speak, _run_files, run, order)
        speak({"answer": order["output"]})


def _run_files(run, order):
    import numpy

    with numpy.load(order["input"], allow_pickle=False) as loaded:
        inputs = {name: loaded["arr_%d" % i] for i, name in enumerate(order["names"])}
    outputs = run(inputs)
    missing = [name for name in order["outputs"] if name not in outputs]
    if missing:
        raise Refusal("the source gave no output named %s" % ", ".join(missing))
    numpy.savez(order["output"], *[numpy.asarray(outputs[name]) for name in order["outputs"]])


def _guarded(speak, function, *args):
    """Call; an error becomes the last answer, and ends this process."""
    try:
        return function(*args)
    except Refusal as refusal:
        speak({"refused": str(refusal)})
    except MemoryError:
        speak({"refused": "there was not enough memory"})
    except Exception as error:
        import traceback

        traceback.print_exc()
        speak({"failed": "%s: %s" % (type(error).__name__, _first(error))})
    sys.stderr.flush()
    os._exit(3)


def _first(error):
    """The first line of a message that says something, not too long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:500] if lines else "no message"


def _take_stdout():
    """Keep the way to the parent for answers; whatever else prints goes to stderr."""
    private = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def speak(message):
        data = json.dumps(message).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(private, data) :]

    return speak


class _Lines:
    """Lines of stdin, read in a thread: when the parent is gone, this process ends at once."""

    def __init__(self):
        self._ready = []
        self._there = threading.Condition()
        thread = threading.Thread(target=self._read)
        thread.daemon = True
        thread.start()

    def _read(self):
        # Not through sys.stdin: its lock in this thread would abort the end of the interpreter.
        rest = b""
        for data in iter(lambda: os.read(0, 1 << 16), b""):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            with self._there:
                self._ready.extend(line.decode() for line in lines)
                self._there.notify()
        os._exit(4)

    def next(self):
        with self._there:
            while not self._ready:
                self._there.wait()
            return self._ready.pop(0)
