"""The box, read from planted files: control groups of all kinds, boards, fingerprints."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from edgeinfer.machine import (
    Machine,
    cgroup_quota,
    cpu_stat,
    group_folders,
    listed,
    memory_limit,
    power_modes,
    read_machine,
    this_machine,
    usable_cpus,
)

ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": (
        "processor : 0\nFeatures : fp asimd asimdhp asimddp\nCPU implementer : 0x41\n"
        "CPU part : 0xd42\n\nprocessor : 1\nCPU implementer : 0x41\nCPU part : 0xd42\n"
    ),
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "etc/nvpmodel.conf": (
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=7W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=0 >\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0001\n",
    "sys/devices/system/cpu/present": "0-5\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def groups(root: Path) -> tuple[Path, Path]:
    return root / "sys/fs/cgroup", root / "proc/self/cgroup"


def test_a_jetson_is_known_by_board_release_and_power_mode(tmp_path: Path) -> None:
    machine = read_machine(plant(tmp_path, ORIN))
    assert machine.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (machine.l4t, machine.power_mode) == ("36.4.3", "7W")
    assert machine.cpu == "Cortex-A78AE"
    assert machine.features == ("asimdhp", "asimddp")
    assert (machine.governor, machine.host_cpus) == ("schedutil", 6)


def test_the_default_power_mode_counts_until_another_was_set(tmp_path: Path) -> None:
    files = {key: text for key, text in ORIN.items() if "status" not in key}
    modes = power_modes(plant(tmp_path, files))
    assert modes is not None
    assert modes.name == "15W"
    assert power_modes(tmp_path / "elsewhere") is None


def test_all_kinds_of_core_are_named(tmp_path: Path) -> None:
    text = "CPU implementer : 0x41\nCPU part : 0xd05\n\nCPU implementer : 0x41\nCPU part : 0xd0b\n"
    machine = read_machine(plant(tmp_path, {"proc/cpuinfo": text}))
    assert machine.cpu == "Cortex-A55 + Cortex-A76"


def test_the_driver_is_known_by_its_module(tmp_path: Path) -> None:
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
    plant(tmp_path, {"proc/driver/nvidia/version": line})
    assert read_machine(tmp_path).nvidia_driver == "580.65.06"
    plant(tmp_path, {"sys/module/nvidia/version": "570.1\n"})
    assert read_machine(tmp_path).nvidia_driver == "570.1"


def test_a_machine_survives_being_stored() -> None:
    machine = this_machine()
    stored = json.loads(json.dumps(machine.to_dict()))
    assert Machine.from_dict(stored) == machine
    assert Machine.from_dict({**stored, "of a later version": 1}) == machine
    assert machine.differences(Machine.from_dict(stored)) == []
    with pytest.raises(ValueError, match="no description"):
        Machine.from_dict({"cpu": "x"})


def test_differences_say_what_was_and_what_is(tmp_path: Path) -> None:
    before = read_machine(plant(tmp_path, ORIN))
    plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002\n"})
    now = read_machine(tmp_path)
    assert now.differences(before) == ["the power mode was 7W, now MAXN_SUPER"]
    now = dataclasses.replace(before, quota_cpus=1.5, governor=None, features=())
    assert now.differences(before) == [
        "the instruction set was asimdhp asimddp, now none of note",
        "the quota of processors was not set, now 1.5",
        "the governor was schedutil, now not set",
    ]


def test_what_changes_from_boot_to_boot_is_no_difference() -> None:
    machine = this_machine()
    less = dataclasses.replace(machine, memory_bytes=machine.memory_bytes - (50 << 20), kernel="x")
    assert less.differences(machine) == []
    half = dataclasses.replace(machine, memory_bytes=machine.memory_bytes // 2)
    (text,) = half.differences(machine)
    assert "memory" in text


def test_a_container_that_sees_only_its_part_of_version_1_groups(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc/job\n4:memory:/docker/abc/job\n0::/\n",
            "proc/self/mountinfo": (
                "30 25 0:26 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup x cpu,cpuacct\n"
                "31 25 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
            ),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(512 << 20),
        },
    )
    assert cgroup_quota(*groups(tmp_path)) == 1.5
    assert memory_limit(*groups(tmp_path)) == 512 << 20


def test_a_container_in_a_namespace_of_version_2_groups(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "30 25 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            "sys/fs/cgroup/cpu.max": "250000 100000",
            "sys/fs/cgroup/memory.max": "max",
            "sys/fs/cgroup/cpu.stat": "nr_periods 50\nnr_throttled 2\nthrottled_usec 30\n",
        },
    )
    assert cgroup_quota(*groups(tmp_path)) == 2.5
    assert memory_limit(*groups(tmp_path)) is None
    assert cpu_stat(*groups(tmp_path)) == {"nr_periods": 50, "nr_throttled": 2, "throttled_us": 30}


def test_nested_groups_beside_a_hybrid_tree(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/a/b\n0::/a/b\n",
            "proc/self/mountinfo": (
                "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            ),
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/unified/a/b/cpu.max": "300000 100000",
        },
    )
    assert cgroup_quota(*groups(tmp_path)) == 0.5


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_quota(*groups(tmp_path)) is None
    assert memory_limit(*groups(tmp_path)) is None
    assert cpu_stat(*groups(tmp_path)) is None
    plant(tmp_path, {"proc/self/cgroup": "nonsense\n0::/../../outside\n"})
    assert cgroup_quota(*groups(tmp_path)) is None


def test_a_folder_that_is_reached_twice_counts_once(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_throttled 4\n"})
    (tmp_path / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    plant(tmp_path, {"proc/self/cgroup": "3:cpu,cpuacct:/\n"})
    assert len(group_folders("cpu", *groups(tmp_path))) == 2
    assert (cpu_stat(*groups(tmp_path)) or {})["nr_throttled"] == 4


def test_a_cpuset_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_lists_of_the_kernel_are_read() -> None:
    assert listed("0-3,7\n") == {0, 1, 2, 3, 7}
    assert listed("") == listed(None) == listed("x-y") == set()
