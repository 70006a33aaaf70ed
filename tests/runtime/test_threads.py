"""Sessions of one process share its processors."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers.binding import OrtBinding
from edgeinfer.threads import Processors, processors

PICTURE = np.full((16, 24, 3), 230, np.uint8)


def test_who_finds_them_free_does_not_wait() -> None:
    two = Processors(2)
    assert [two.take(1), two.take(1)] == [False, False]
    two.give(1)
    assert two.take(1) is False


def test_more_than_there_are_means_all_of_them() -> None:
    two = Processors(2)
    assert two.take(64) is False
    two.give(64)
    assert [two.take(1), two.take(1)] == [False, False]


def test_who_asks_first_is_served_first() -> None:
    two = Processors(2)
    two.take(2)
    order: list[str] = []
    asked = []

    def ask(name: str, count: int) -> None:
        assert two.take(count) is True
        order.append(name)
        two.give(count)

    for name, count in (("large", 2), ("small", 1), ("last", 2)):
        thread = threading.Thread(target=ask, args=(name, count))
        thread.start()
        asked.append(thread)
        while len(two._queue) < len(asked):
            pass
    two.give(2)
    for thread in asked:
        thread.join()
    # The small one fitted beside nothing: the large one was there before it.
    assert order == ["large", "small", "last"]


def test_who_is_interrupted_while_waiting_keeps_nothing() -> None:
    two = Processors(2)
    two.take(2)
    outcome: list[str] = []

    def wait() -> None:
        try:
            two.take(2)
        except KeyboardInterrupt:
            outcome.append("interrupted")

    thread = threading.Thread(target=wait)
    thread.start()
    while not two._queue:
        pass
    assert thread.ident is not None
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
    # The exception comes when the thread runs Python again: when it is served.
    two.give(2)
    thread.join()
    assert outcome == ["interrupted"]
    assert two.take(2) is False


def test_never_more_at_once_than_there_are() -> None:
    three = Processors(3)
    lock = threading.Lock()
    busy, most = 0, 0

    def work(count: int) -> None:
        nonlocal busy, most
        for _ in range(300):
            three.take(count)
            with lock:
                busy += count
                most = max(most, busy)
            with lock:
                busy -= count
            three.give(count)

    threads = [threading.Thread(target=work, args=(1 + n % 3,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (busy, three._free) == (0, 3)
    assert most <= 3


def test_two_models_take_turns(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = processors().count
    lock = threading.Lock()
    inside, most = 0, 0
    run = OrtBinding.run

    def watched(self: OrtBinding) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            return run(self)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(OrtBinding, "run", watched)
    options = LoadOptions("cpu", threads=count)
    with open_model(brightness_model, options) as one, open_model(brightness_model, options) as two:
        threads = [
            threading.Thread(target=lambda model=model: [model(PICTURE) for _ in range(200)])
            for model in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
