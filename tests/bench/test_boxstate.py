from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgeinfer_bench.boxstate import BoxState, look


def plant(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_box_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    assert look(tmp_path) == BoxState()


def test_this_box_can_be_looked_at() -> None:
    assert look().total_ticks > 0


def test_clocks_and_governor_are_read_and_the_fastest_processor_counts(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    plant(tmp_path, f"{cpus}/cpu0/cpufreq/scaling_governor", "schedutil\n")
    plant(tmp_path, f"{cpus}/cpu0/cpufreq/scaling_cur_freq", "600000\n")
    plant(tmp_path, f"{cpus}/cpu1/cpufreq/scaling_cur_freq", "1800000\n")
    state = look(tmp_path)
    assert (state.governor, state.cpu_mhz) == ("schedutil", 1800.0)


def test_the_clock_is_read_from_cpuinfo_where_nothing_else_tells(tmp_path: Path) -> None:
    plant(tmp_path, "proc/cpuinfo", "processor : 0\ncpu MHz\t\t: 2596.1\ncpu MHz : 2600.5\n")
    assert look(tmp_path).cpu_mhz == 2600.5


def test_throttling_is_summed_over_the_group_and_its_ancestors(tmp_path: Path) -> None:
    plant(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    plant(tmp_path, "sys/fs/cgroup/a/cpu.stat", "nr_throttled 2\nthrottled_usec 50\n")
    plant(tmp_path, "sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 1\nthrottled_usec 25\n")
    state = look(tmp_path)
    assert (state.throttled_periods, state.throttled_us) == (3, 75)


def test_the_older_control_groups_count_in_nanoseconds(tmp_path: Path) -> None:
    plant(tmp_path, "proc/self/cgroup", "3:cpu,cpuacct:/x\n")
    plant(
        tmp_path,
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.stat",
        "nr_periods 9\nnr_throttled 4\nthrottled_time 7000\n",
    )
    state = look(tmp_path)
    assert (state.throttled_periods, state.throttled_us) == (4, 7)


def test_stolen_time_and_heat_are_counted(tmp_path: Path) -> None:
    plant(tmp_path, "proc/stat", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    for cpu, times in ((0, 2), (1, 3)):
        path = f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count"
        plant(tmp_path, path, f"{times}\n")
    state = look(tmp_path)
    assert (state.steal_ticks, state.total_ticks) == (8, 36)
    assert state.thermal_events == 5


def test_what_the_clock_may_reach_is_told_beside_what_it_was_built_for(tmp_path: Path) -> None:
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
    plant(tmp_path, f"{cpufreq}/scaling_max_freq", "1500000\n")
    plant(tmp_path, f"{cpufreq}/cpuinfo_max_freq", "2400000\n")
    state = look(tmp_path)
    assert (state.cpu_limit_mhz, state.cpu_max_mhz) == (1500.0, 2400.0)


def test_only_usable_processors_are_counted_as_busy(tmp_path: Path) -> None:
    usable = sorted(os.sched_getaffinity(0))
    other = usable[-1] + 1
    lines = ["cpu  9 9 9 9 9 9 9 9 0 0", f"cpu{other} 500 0 0 0 0 0 0 0 0 0"]
    lines += [f"cpu{number} 1 2 3 40 50 6 7 8 0 0" for number in usable]
    plant(tmp_path, "proc/stat", "\n".join([*lines, "intr 5"]))
    state = look(tmp_path)
    assert state.busy_ticks == len(usable) * (1 + 2 + 3 + 6 + 7)
    assert state.usable_ticks == len(usable) * 117


def stat(pid: int, parent: int, name: str, *times: int) -> str:
    return f"{pid} ({name}) S {parent} " + "0 " * 9 + " ".join(map(str, times)) + " 20 0 1 0"


@pytest.mark.parametrize("told", [True, False], ids=["told by the kernel", "found among all"])
def test_own_time_is_that_of_the_whole_family(tmp_path: Path, told: bool) -> None:
    family = {10: stat(10, 1, "bench", 1, 2, 3, 4), 20: stat(20, 10, "a) (b", 10, 0, 0, 0)}
    family[30] = stat(30, 20, "grandchild", 100, 0, 0, 0)
    family[40] = stat(40, 1, "stranger", 5000, 0, 0, 0)
    for pid, text in family.items():
        plant(tmp_path, f"proc/{pid}/stat", text)
    plant(tmp_path, "proc/self/stat", family[10])
    if told:
        plant(tmp_path, "proc/self/task/10/children", "20 \n")
        plant(tmp_path, "proc/10/task/10/children", "20 \n")
        plant(tmp_path, "proc/20/task/20/children", "")
        plant(tmp_path, "proc/20/task/21/children", "30 \n")
    assert look(tmp_path).own_ticks == 10 + 10 + 100


def test_this_process_knows_its_own_time() -> None:
    before = look()
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    after = look()
    assert before.own_ticks is not None and after.own_ticks is not None
    assert before.own_ticks + 3 <= after.own_ticks <= (after.usable_ticks or 0)


def test_memory_and_swapping_are_told(tmp_path: Path) -> None:
    plant(tmp_path, "proc/meminfo", "MemTotal: 2000 kB\nMemAvailable:    500 kB\nHugePages: 0\n")
    plant(tmp_path, "proc/vmstat", "pgpgin 7\npswpin 3\npswpout 4\n")
    state = look(tmp_path)
    assert (state.memory_total_bytes, state.memory_available_bytes) == (2_048_000, 512_000)
    assert state.swapped_pages == 7


def test_a_jetson_tells_mode_heat_gpu_and_power(tmp_path: Path) -> None:
    plant(tmp_path, "etc/nvpmodel.conf", "< POWER_MODEL ID=1 NAME=7W >\n")
    plant(tmp_path, "var/lib/nvpmodel/status", "pmode:0001\n")
    for number, (name, heat) in enumerate((("cpu-thermal", 51000), ("gpu-thermal", 48000))):
        zone = f"sys/class/thermal/thermal_zone{number}"
        plant(tmp_path, f"{zone}/type", name)
        plant(tmp_path, f"{zone}/temp", str(heat))
    plant(tmp_path, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    plant(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "2\n")
    plant(tmp_path, "sys/class/devfreq/17000000.gpu/cur_freq", "624750000\n")
    rail = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "2000"}
    for name, text in rail.items():
        plant(tmp_path, f"sys/class/hwmon/hwmon1/{name}", text)
    state = look(tmp_path)
    assert (state.power_mode, state.temperature_c, state.slowed_by) == (
        "7W",
        51.0,
        ("cpufreq-cpu0",),
    )
    assert (state.gpu_mhz, state.gpu_temperature_c, state.gpu_throttle) == (624.75, 48.0, None)
    assert (state.power_mw, state.energy_nj, state.energy_source) == (
        10_000.0,
        None,
        "ina3221:VDD_IN",
    )


def test_energy_of_processor_packages_is_a_counter(tmp_path: Path) -> None:
    plant(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "12\n")
    plant(tmp_path, "sys/class/powercap/intel-rapl:0/max_energy_range_uj", "99\n")
    state = look(tmp_path)
    assert (state.energy_source, state.energy_nj, state.energy_range_nj) == ("rapl", 12_000, 99_000)
