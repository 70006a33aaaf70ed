"""What doctor says of planted boxes: a Jetson, a Raspberry Pi, containers, a slow laptop."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.doctor import (
    Box,
    Finding,
    clock,
    examine,
    hardware,
    heat,
    imports,
    interpreter,
    jetson,
    libraries,
    memory,
    permissions,
    processors,
    storage,
    variables,
)
from edgeinfer.doctor.libraries import decode

CPU = "sys/devices/system/cpu"
POLICY = f"{CPU}/cpufreq/policy0"


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def box(root: Path, files: dict[str, str], **parts: Any) -> Box:
    known: dict[str, Any] = {"run": lambda command: None, "cpus": 4, "paths": ()}
    return Box(root=plant(root, files), **(known | parts))


def one(findings: Sequence[Finding] | Any, check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    assert (found.remedy is None) == (found.verdict == "ok")
    return found


JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin NX\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=25W >\n",
    "var/lib/nvpmodel/status": "pmode:0003\n",
    "var/lib/dpkg/status": (
        "Package: bash\nVersion: 5\n\nPackage: nvidia-jetpack\nStatus: install ok installed\n"
        "Version: 6.2+b77\n"
    ),
    f"{POLICY}/scaling_min_freq": "729600",
    f"{POLICY}/scaling_max_freq": "1510400",
    f"{POLICY}/cpuinfo_max_freq": "1984000",
}


def test_a_jetson_in_a_low_power_mode(tmp_path: Path) -> None:
    this = box(tmp_path, JETSON)
    found = list(jetson.check(this))
    assert "36.4.3, JetPack 6.2+b77" in one(found, "jetpack").detail
    mode = one(found, "power mode")
    assert (mode.verdict, "25W" in mode.detail) == ("warn", True)
    assert "sudo nvpmodel -m 0" in (mode.remedy or "")
    assert "jetson_clocks" in one(found, "clocks").detail
    assert list(processors.clocks(this)) == []
    assert one(hardware.gpu(this), "gpu").detail.startswith("NVIDIA, part of the board")
    assert "Orin NX" in one(hardware.board(this), "board").detail


def test_a_jetson_at_its_fastest_is_well(tmp_path: Path) -> None:
    files = JETSON | {"var/lib/nvpmodel/status": "pmode:0000\n"}
    files[f"{POLICY}/scaling_min_freq"] = "1510400"
    found = list(jetson.check(box(tmp_path, files)))
    assert {finding.verdict for finding in found} == {"ok"}
    assert "pinned" in one(found, "clocks").detail


def test_an_old_jetson_is_told_so(tmp_path: Path) -> None:
    files = {"etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 1\n"}
    assert one(jetson.check(box(tmp_path, files)), "jetpack").verdict == "warn"


def test_no_jetson_no_word(tmp_path: Path) -> None:
    assert list(jetson.check(box(tmp_path, {}))) == []


def test_a_raspberry_pi_with_a_weak_supply(tmp_path: Path) -> None:
    path = "sys/devices/platform/soc/soc:firmware/get_throttled"
    found = one(heat.supply(box(tmp_path, {path: "50005\n"})), "power supply")
    assert (found.verdict, "under-voltage, throttled (now)" in found.detail) == ("warn", True)
    found = one(heat.supply(box(tmp_path, {path: "10000\n"})), "power supply")
    assert "since the start" in found.detail
    assert one(heat.supply(box(tmp_path, {path: "0\n"})), "power supply").verdict == "ok"


def test_a_container_with_a_quota(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": "200000 100000",
        "sys/fs/cgroup/cpu.stat": "nr_periods 1000\nnr_throttled 310\nthrottled_usec 9000000\n",
        f"{CPU}/present": "0-63\n",
    }
    found = list(processors.quota(box(tmp_path, files, cpus=64)))
    assert one(found, "quota").detail == "2 of 64 processors, quota 2"
    throttled = one(found, "throttled")
    assert "31% of 1000 periods, 9.0 s" in throttled.detail
    assert "--threads 2" in (throttled.remedy or "")


def test_a_container_of_version_1_groups_with_half_a_processor(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/docker/x\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    (sys_link := tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (sys_link / "cpu").symlink_to("cpu,cpuacct")
    found = one(processors.quota(box(tmp_path, files)), "quota")
    assert (found.verdict, "quota 0.5" in found.detail) == ("warn", True)


def test_a_cpuset_and_offline_processors_are_told(tmp_path: Path) -> None:
    files = {f"{CPU}/present": "0-5\n", f"{CPU}/offline": "4-7\n"}
    found = one(processors.quota(box(tmp_path, files)), "quota")
    assert found.verdict == "ok"
    assert found.detail == "4 of 6 processors, scheduled on 4, 2 offline"


@pytest.mark.parametrize(
    ("governor", "driver", "preference", "verdict"),
    [
        ("powersave", "acpi-cpufreq", None, "warn"),
        ("powersave", "intel_pstate", "balance_performance", "ok"),
        ("powersave", "intel_pstate", "power", "warn"),
        ("powersave", "amd-pstate-epp", "balance_power", "warn"),
        ("performance", "acpi-cpufreq", None, "ok"),
        ("ondemand", "cpufreq-dt", None, "ok"),
    ],
)
def test_governors(
    governor: str, driver: str, preference: str | None, verdict: str, tmp_path: Path
) -> None:
    files = {f"{POLICY}/scaling_governor": governor, f"{POLICY}/scaling_driver": driver}
    if preference is not None:
        files[f"{POLICY}/energy_performance_preference"] = preference
    found = one(processors.governor(box(tmp_path, files)), "governor")
    assert (found.verdict, governor in found.detail) == (verdict, True)
    if verdict == "warn":
        assert "scaling_governor" in (found.remedy or "")


def test_a_clock_limit_is_seen(tmp_path: Path) -> None:
    files = {f"{POLICY}/cpuinfo_max_freq": "3400000", f"{POLICY}/scaling_max_freq": "1200000"}
    found = one(processors.clocks(box(tmp_path, files)), "clock limit")
    assert "1.20 GHz of 3.40 GHz" in found.detail
    assert "3400000" in (found.remedy or "")
    files[f"{POLICY}/scaling_max_freq"] = "3400000"
    assert list(processors.clocks(box(tmp_path, files))) == []


def test_thread_variables_that_contradict_the_box(tmp_path: Path) -> None:
    def said(**variables: str) -> list[Finding]:
        return list(processors.threads(box(tmp_path, {}, environment=variables)))

    assert said() == said(OMP_NUM_THREADS="4") == said(OMP_NUM_THREADS="2,2") == []
    assert "OMP_NUM_THREADS=16, but 4 threads" in said(OMP_NUM_THREADS="16")[0].detail
    assert "no number" in said(OPENBLAS_NUM_THREADS="many")[0].detail


def test_variables_that_change_what_is_computed(tmp_path: Path) -> None:
    def said(**environment: str) -> Finding:
        return one(variables.check(box(tmp_path, {}, environment=environment)), "environment")

    assert said(CUDA_VISIBLE_DEVICES="0", CUDA_LAUNCH_BLOCKING="0").verdict == "ok"
    assert "hides every NVIDIA GPU" in said(CUDA_VISIBLE_DEVICES="").detail
    assert "TF32" in said(NVIDIA_TF32_OVERRIDE="1").detail
    assert said(ONEDNN_DEFAULT_FPMATH_MODE="bf16").verdict == "warn"


ZONE = "sys/class/thermal/thermal_zone0"


@pytest.mark.parametrize(
    ("temperature", "trip", "kind", "verdict"),
    [
        ("61000", "95000", "passive", "ok"),
        ("92000", "95000", "passive", "warn"),
        ("92000", "60000", "active", "ok"),  # a fan that turns on slows nothing down
        ("40000", "-274000", "passive", "ok"),  # not set
        ("-5000", "0", "critical", "ok"),  # no sensor
    ],
)
def test_temperatures_against_trip_points(
    temperature: str, trip: str, kind: str, verdict: str, tmp_path: Path
) -> None:
    files = {f"{ZONE}/type": "cpu-thermal", f"{ZONE}/temp": temperature}
    files |= {f"{ZONE}/trip_point_0_type": kind, f"{ZONE}/trip_point_0_temp": trip}
    assert one(heat.temperature(box(tmp_path, files)), "temperature").verdict == verdict


def test_slowing_down_for_heat_is_seen_now_and_since_the_start(tmp_path: Path) -> None:
    device = "sys/class/thermal/cooling_device0"
    this = box(tmp_path, {f"{device}/type": "cpufreq-cpu0", f"{device}/cur_state": "3"})
    assert "cpufreq-cpu0" in one(heat.temperature(this), "temperature").detail
    this = box(tmp_path, {f"{device}/type": "pwm-fan", "proc/uptime": "3600.0 7000.0"})
    assert one(heat.temperature(this), "temperature").verdict == "ok"
    slow = f"{CPU}/cpu1/thermal_throttle/core_throttle_total_time_ms"
    found = list(heat.temperature(box(tmp_path, {slow: "90000"})))
    assert "90 s of 1.0 h" in found[-1].detail


MEMINFO = (
    "MemTotal: 4000000 kB\nMemAvailable: {left} kB\nSwapTotal: 2000000 kB\nSwapFree: {swap} kB\n"
)


def test_memory_and_swap(tmp_path: Path) -> None:
    files = {"proc/meminfo": MEMINFO.format(left=3000000, swap=2000000)}
    files["proc/swaps"] = "Filename Type Size Used Priority\n/dev/zram0 partition 2000000 0 5\n"
    found = list(memory.check(box(tmp_path, files)))
    assert [finding.verdict for finding in found] == ["ok", "ok"]
    assert "zram" in one(found, "swap").detail
    files["proc/meminfo"] = MEMINFO.format(left=200000, swap=500000)
    files["proc/swaps"] = "Filename Type Size Used Priority\n/swapfile file 2000000 1500000 -2\n"
    found = list(memory.check(box(tmp_path, files)))
    assert [finding.verdict for finding in found] == ["warn", "warn"]
    assert "/swapfile" in one(found, "swap").detail


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    files = {"proc/meminfo": MEMINFO.format(left=3000000, swap=2000000)}
    files |= {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(256 << 20)}
    found = one(memory.check(box(tmp_path, files)), "memory")
    assert (found.verdict, "grants 256 MiB" in found.detail) == ("warn", True)


def test_shared_memory_works_here(tmp_path: Path) -> None:
    assert one(memory.shared(box(tmp_path, {})), "shared memory").verdict == "ok"


def test_a_full_disk_is_seen(tmp_path: Path) -> None:
    full = box(tmp_path, {}, cache=tmp_path / "not/yet/there", free_bytes=lambda path: 10 << 20)
    assert "10 MiB left" in one(storage.cache(full), "cache").detail
    assert one(storage.temporary(full), "temporary files").verdict == "warn"
    roomy = box(tmp_path, {}, cache=tmp_path / "c", free_bytes=lambda path: 10 << 30)
    assert one(storage.cache(roomy), "cache").verdict == "ok"
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("text", "verdict", "told"),
    [("64M", "warn", "64 MiB"), ("", "ok", ""), ("8G", "ok", ""), ("lots", "fail", "'lots'")],
)
def test_a_cache_that_is_bounded_by_hand_is_looked_at(
    text: str, verdict: str, told: str, tmp_path: Path
) -> None:
    environment = {"EDGEINFER_CACHE_BYTES": text}
    here = box(tmp_path, {}, cache=tmp_path, environment=environment)
    found = one(storage.cache(here), "cache")
    assert found.verdict == verdict and told in found.detail


def test_a_cache_that_cannot_be_written_costs_speed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    found = one(storage.cache(box(tmp_path, {}, cache=tmp_path)), "cache")
    assert (found.verdict, "EDGEINFER_CACHE" in (found.remedy or "")) == ("warn", True)
    assert f"chown -R $USER {tmp_path}" in (found.remedy or "")
    above = one(storage.cache(box(tmp_path, {}, cache=tmp_path / "a" / "b")), "cache")
    assert "chown" not in (above.remedy or "")  # nobody gives away what lies above, / say
    assert f"install -d -o $USER {tmp_path / 'a' / 'b'}" in (above.remedy or "")


def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    source = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    found = list(clock.check(box(tmp_path, {source: "hpet\n"}, now_s=lambda: 86400.0)))
    assert "1970-01-02" in one(found, "clock").detail
    assert one(found, "time source").verdict == "warn"
    found = list(clock.check(box(tmp_path, {source: "arch_sys_counter\n"}, now_s=lambda: 1.8e9)))
    assert {finding.verdict for finding in found} == {"ok"}


GPU = {
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
}
LIBCUDA = "usr/lib/x86_64-linux-gnu/libcuda.so"


@pytest.mark.parametrize(
    ("more", "verdict", "said"),
    [
        ({}, "warn", "driver is not loaded"),
        ({"sys/module/nvidia/version": "580.65.06"}, "warn", "no GPU can be reached"),
        (
            {
                "sys/module/nvidia/version": "580.65.06",
                "dev/nvidia0": "",
                f"{LIBCUDA}.580.95.05": "",
            },
            "fail",
            "580.95.05",
        ),
        (
            {"sys/module/nvidia/version": "580.65.06", "dev/nvidia0": "", f"{LIBCUDA}.1": ""},
            "ok",
            "L4, 23034 MiB, 41, driver 580.65.06",
        ),
    ],
)
def test_nvidia_gpus(more: dict[str, str], verdict: str, said: str, tmp_path: Path) -> None:
    this = box(tmp_path, GPU | more, run=lambda command: "NVIDIA L4, 23034 MiB, 41\n")
    found = one(hardware.gpu(this), "gpu")
    assert (found.verdict, said in found.detail) == (verdict, True)


def test_a_card_that_only_shows_a_screen_is_no_gpu(tmp_path: Path) -> None:
    files = {name: text.replace("10de", "1a03") for name, text in GPU.items()}
    assert "none" in one(hardware.gpu(box(tmp_path, files)), "gpu").detail


def test_npus_by_their_drivers(tmp_path: Path) -> None:
    this = box(tmp_path, {"dev/hailo0": "", "sys/class/accel/accel0/dev": "261:0"})
    driver = tmp_path / "sys/bus/pci/drivers/intel_vpu"
    driver.mkdir(parents=True)
    (tmp_path / "sys/class/accel/accel0/device").mkdir()
    (tmp_path / "sys/class/accel/accel0/device/driver").symlink_to(driver)
    said = [finding.detail for finding in hardware.npu(this)]
    assert "openvino:NPU" in said[0]
    assert said[1].startswith("Hailo (/dev/hailo0)")


def test_device_files_that_the_user_may_not_open(tmp_path: Path) -> None:
    files = {"dev/video0": "", "dev/dri/renderD128": ""}
    group = plant(tmp_path, files).joinpath("dev/video0").stat().st_gid
    files["etc/group"] = f"video:x:{group}:\n"
    found = one(permissions.check(box(tmp_path, files, may_use=lambda path: False)), "devices")
    assert "/dev/video0, /dev/dri/renderD128" in found.detail
    assert "usermod -aG video" in (found.remedy or "")
    found = one(permissions.check(box(tmp_path, files, may_use=lambda path: True)), "devices")
    assert found.verdict == "ok"


def test_the_loader_is_followed_through_its_configuration(tmp_path: Path) -> None:
    files = {
        "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/cuda.conf": "# CUDA\n/usr/local/cuda/lib64\n",
    }
    this = box(tmp_path, files, environment={"LD_LIBRARY_PATH": "/opt/a:/opt/b"})
    shown = [this.shown(folder) for folder in libraries.loader_folders(this)]
    assert shown[:3] == ["/opt/a", "/opt/b", "/usr/local/cuda/lib64"]
    cudart = next(item for item in libraries.LIBRARIES if item.name == "CUDA")
    plant(tmp_path, {"usr/local/cuda-13.0/lib64/libcudart.so.13": ""})
    assert libraries.find(this, cudart)[1] == "apart"
    wheels = plant(tmp_path / "site", {"nvidia/cu13/lib/libcudart.so.13": ""})
    assert libraries.find(box(tmp_path, {}, paths=(str(wheels),)), cudart)[1] == "wheel"


def test_a_library_that_does_not_load_is_a_finding(tmp_path: Path) -> None:
    this = box(tmp_path, {"usr/lib/libcudnn.so.9": "this is no library"})
    found = one(libraries.check(this), "libraries")
    assert (found.verdict, "does not load" in found.detail) == ("warn", True)


def test_versions_are_decoded() -> None:
    assert decode("CUDA", 13010) == (13, 1)
    assert decode("cuDNN", 91301) == (9, 13, 1)
    assert decode("cuDNN", 8907) == (8, 9, 7)
    assert decode("TensorRT", 101303) == (10, 13, 3)
    assert decode("TensorRT", 8601) == (8, 6, 1)


def test_this_interpreter_is_good_enough(tmp_path: Path) -> None:
    assert one(interpreter.check(box(tmp_path, {})), "python").verdict == "ok"


def test_a_check_that_can_start_no_child_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    found = one(examine(box(tmp_path, {}), {"packages": imports.check}), "packages")
    assert found.verdict == "warn"
    assert found.remedy is not None
    assert "TMPDIR" in found.remedy
