"""Huge pages: asked for where memory is dense, left alone elsewhere, harmless to what runs."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.frames import frame_from_array
from edgeinfer.machine import Growth, pages
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.pipeline import Run, RunOptions
from edgeinfer.results import Classes
from edgeinfer.sources import open_source

MIB = 1 << 20
HUGE = pages._huge_page_bytes()


def private(size: int) -> tuple[mmap.mmap, int]:
    """Memory that nothing has touched, and an address in its middle."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return memory, np.frombuffer(memory, np.uint8).ctypes.data + size // 2


def listed(address: int) -> dict[str, str]:
    """What the kernel says of the stretch that holds an address (proc_pid_smaps(5))."""
    here = False
    found: dict[str, str] = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            start, _, end = name.partition("-")
            here = int(start, 16) <= address < int(end, 16)
        elif here:
            found[name[:-1]] = rest.strip()
    return found


def is_asked_for(address: int) -> bool:
    return "hg" in listed(address)["VmFlags"].split()


def huge_kib(address: int) -> int:
    return int(listed(address)["AnonHugePages"].split()[0])


def test_dense_memory_is_joined_or_asked_for() -> None:
    growth = Growth()
    memory, address = private(16 * MIB)
    memory.write(b"x" * (16 * MIB))
    joined = growth.join()
    if HUGE == 0:
        assert joined == 0
        return
    # Linux before 6.1 does it later, where it was asked to.
    assert huge_kib(address) >= 12 * 1024 or is_asked_for(address)
    assert memory[:] == b"x" * (16 * MIB)


def test_memory_with_holes_and_memory_from_before_are_left_alone() -> None:
    before, address_before = private(16 * MIB)
    before.write(b"x" * (16 * MIB))
    growth = Growth()
    sparse, address = private(16 * MIB)
    for at in range(0, 16 * MIB, 16384):
        sparse[at] = 1
    # Zero, but where the box gives huge pages to all who touch memory.
    given = [huge_kib(where) for where in (address_before, address)]
    growth.join()
    assert [huge_kib(where) for where in (address_before, address)] == given
    assert not is_asked_for(address_before)
    assert not is_asked_for(address)


def test_time_that_is_up_leaves_the_rest_to_the_kernel() -> None:
    growth = Growth()
    memory, address = private(16 * MIB)
    memory.write(b"x" * (16 * MIB))
    readings = iter([0, *[pages._BUDGET_NS] * 10_000])
    assert growth.join(lambda: next(readings)) == 0
    assert is_asked_for(address) == (HUGE > 0)


@pytest.mark.parametrize("enabled", ["always madvise [never]", None])
def test_who_wants_no_huge_pages_gets_none(
    enabled: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if enabled is not None:
        (tmp_path / "enabled").write_text(enabled)
        (tmp_path / "hpage_pmd_size").write_text(str(2 * MIB))
    monkeypatch.setattr(pages, "_SETTINGS", tmp_path)
    growth = Growth()
    memory, address = private(16 * MIB)
    memory.write(b"x" * (16 * MIB))
    given = huge_kib(address)
    assert growth.join() == 0
    assert huge_kib(address) == given
    assert not is_asked_for(address)


def test_only_private_memory_of_no_file_counts_and_only_what_is_new() -> None:
    before = "1000-2000 rw-p 00000000 00:00 0\n8000-9000 rw-p 00000000 00:00 0 [heap]"
    after = (
        "1000-5000 rw-p 00000000 00:00 0\n"
        "6000-6800 rw-s 00000000 00:01 7 /memfd:frames (deleted)\n"
        "7000-7800 r--p 00000000 fd:00 9 /usr/lib/a library.so\n"
        "7800-7900 rw-p 00000000 fd:00 9 /usr/lib/a library.so\n"
        "7c00-9800 rw-p 00000000 00:00 0 [heap]\n"
        "a000-a100 rw-p 00000000 00:00 0 [stack]\n"
        "b000-b300 rw-p 00000000 00:00 0 [anon: glibc: malloc]\n"
    )
    assert pages._grown(before, after) == [
        (0x2000, 0x5000),
        (0x9000, 0x9800),
        (0x7C00, 0x8000),
        (0xB000, 0xB300),
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often pages were joined: an entry each time."""
    times: list[int] = []
    join = Growth.join

    def noted(growth: Growth) -> int:
        times.append(len(times))
        return join(growth)

    monkeypatch.setattr(Growth, "join", noted)
    return times


@pytest.mark.parametrize("wanted", [True, False])
def test_a_model_asks_at_its_second_frame(
    wanted: bool, brightness_model: Path, asked: list[int]
) -> None:
    values: list[list[float]] = []
    seen: list[int] = []
    picture = np.full((32, 32, 3), 200, np.uint8)
    with open_model(brightness_model, LoadOptions("cpu", huge_pages=wanted)) as model:
        for _ in range(4):
            value = model(picture).value
            assert isinstance(value, Classes)
            values.append(value.scores.tolist())
            seen.append(len(asked))
    assert seen == ([0, 1, 1, 1] if wanted else [0] * 4)
    assert values == [values[0]] * 4


@pytest.mark.parametrize(("policy", "times"), [("latest", 1), ("all", 0)])
def test_frames_that_come_by_a_clock_find_it_done(
    policy: str, times: int, brightness_model: Path, asked: list[int]
) -> None:
    with open_model(brightness_model, LoadOptions("cpu")) as model:
        options = RunOptions(policy=policy, frames=1, overlap=False)
        summary = Run(model, open_source("synthetic:64x48"), [], options).run()
    assert summary["frames"] == 1
    assert len(asked) == times


def test_a_warm_lane_does_not_ask_again(brightness_model: Path, asked: list[int]) -> None:
    frame = frame_from_array(np.full((32, 32, 3), 200, np.uint8))
    with open_model(brightness_model, LoadOptions("cpu")) as model:
        lane = model.lane()
        assert lane.warm_up(for_long=True)
        for _ in range(3):
            lane.predict(frame)
    assert len(asked) == 1
