from __future__ import annotations

from pathlib import Path

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
