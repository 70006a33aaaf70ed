"""Energy, heat and GPUs, read from planted files and from an NVML that the test puts in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from edgeinfer.machine.energy import (
    Periods,
    energy_between,
    energy_nj,
    energy_range_nj,
    power_mw,
)
from edgeinfer.machine.gpu import GpuState, gpu_state
from edgeinfer.machine.thermal import (
    gpu_celsius,
    overcurrent_events,
    processor_celsius,
    slowed_by,
)

SECOND = 1_000_000_000
NVIDIA = {"sys/module/nvidia/version": "580.65.06\n"}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@dataclass(frozen=True)
class Meter:
    energy_nj: int | None
    energy_range_nj: int | None = None
    energy_source: str | None = "rapl"


def package(number: int, used_uj: int, range_uj: int) -> dict[str, str]:
    zone = f"sys/class/powercap/intel-rapl:{number}"
    return {f"{zone}/energy_uj": f"{used_uj}\n", f"{zone}/max_energy_range_uj": f"{range_uj}\n"}


def test_packages_tell_what_they_used_and_where_they_begin_anew(tmp_path: Path) -> None:
    plant(tmp_path, {**package(0, 5, 1000), **package(1, 7, 1000)})
    zones = tmp_path / "sys/class/powercap"
    assert (energy_nj(zones), energy_range_nj(zones)) == (12_000, 1_000_000)


def test_packages_of_different_ranges_tell_none(tmp_path: Path) -> None:
    plant(tmp_path, {**package(0, 5, 1000), **package(1, 7, 2000)})
    assert energy_range_nj(tmp_path / "sys/class/powercap") is None


def test_a_jetson_whose_rail_feeds_all_others_is_counted_once(tmp_path: Path) -> None:
    hwmon = "sys/class/hwmon/hwmon1"
    plant(
        tmp_path,
        {
            f"{hwmon}/name": "ina3221\n",
            f"{hwmon}/in1_label": "VDD_IN\n",
            f"{hwmon}/in1_input": "5000\n",
            f"{hwmon}/curr1_input": "1200\n",
            f"{hwmon}/in2_label": "VDD_CPU_GPU_CV\n",
            f"{hwmon}/in2_input": "5000\n",
            f"{hwmon}/curr2_input": "700\n",
            f"{hwmon}/in7_label": "sum of shunt voltages\n",
        },
    )
    assert power_mw(tmp_path) == ("VDD_IN", 6000.0)


def test_the_rails_of_a_board_without_one_for_all_are_added_up(tmp_path: Path) -> None:
    files = {}
    rails = (("VDD_GPU_SOC", 1), ("VDD_CPU_CV", 2), ("VIN_SYS_5V0", 3))
    for label, number in rails:
        files[f"sys/class/hwmon/hwmon1/in{number}_label"] = label
        files[f"sys/class/hwmon/hwmon1/in{number}_input"] = "1000"
        files[f"sys/class/hwmon/hwmon1/curr{number}_input"] = str(100 * number)
    files["sys/class/hwmon/hwmon1/name"] = "ina3221"
    files["sys/class/hwmon/hwmon2/name"] = "ina3221"
    files["sys/class/hwmon/hwmon2/in1_label"] = "NC"
    files["sys/class/hwmon/hwmon2/in2_label"] = "VDDQ_VDD2_1V8AO"
    assert power_mw(plant(tmp_path, files)) == ("VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0", 600.0)


def test_older_jetsons_tell_milliwatts(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    plant(tmp_path, {f"{device}/rail_name_0": "POM_5V_IN\n", f"{device}/in_power0_input": "2345\n"})
    assert power_mw(tmp_path) == ("POM_5V_IN", 2345.0)


def test_a_rail_that_cannot_be_read_leaves_no_power(tmp_path: Path) -> None:
    hwmon = "sys/class/hwmon/hwmon1"
    plant(tmp_path, {f"{hwmon}/name": "ina3221", f"{hwmon}/in1_label": "VDD_IN"})
    assert power_mw(tmp_path) is None


def test_only_energy_inside_the_periods_counts() -> None:
    samples = [(0, Meter(0)), (SECOND, Meter(10**9)), (2 * SECOND, Meter(11 * 10**9))]
    assert energy_between(samples, [(0, SECOND)]) == ("rapl", 1.0)
    assert energy_between(samples, [(SECOND // 2, SECOND), (SECOND, 3 * SECOND // 2)]) == (
        "rapl",
        pytest.approx(0.5 + 5.0),
    )


def test_periods_that_overlap_count_once() -> None:
    samples = [(0, Meter(0)), (SECOND, Meter(10**9))]
    assert energy_between(samples, [(0, SECOND), (0, SECOND)]) == ("rapl", 1.0)
    both = Periods([(5, 9), (0, 6), (20, 22)])
    assert (both.merged, both.total_ns) == ([(0, 9), (20, 22)], 11)
    assert (both.inside_ns(-5, 3), both.inside_ns(8, 21), both.inside_ns(9, 20)) == (3, 2, 0)
    assert both.holds(9) and not both.holds(10) and not both.holds(-1)


def test_counters_that_begin_anew_are_followed() -> None:
    once = [(0, Meter(900, 1000)), (SECOND, Meter(150, 1000))]
    assert energy_between(once, [(0, SECOND)]) == ("rapl", pytest.approx(250e-9))
    # Two packages: their sum was 900 + 950 and is 150 + 50.
    twice = [(0, Meter(1850, 1000)), (SECOND, Meter(200, 1000))]
    assert energy_between(twice, [(0, SECOND)]) == ("rapl", pytest.approx(350e-9))


@pytest.mark.parametrize(
    "last",
    [Meter(None), Meter(5), Meter(20, energy_source="nvml")],
    ids=["silent", "begun anew, nobody knows where", "another source"],
)
def test_where_the_meter_is_of_no_use_no_energy_is_stated(last: Meter) -> None:
    assert energy_between([(0, Meter(10)), (SECOND, last)], [(0, SECOND)]) is None


def test_periods_that_were_not_metered_have_no_energy() -> None:
    samples = [(0, Meter(0)), (SECOND, Meter(10**9))]
    assert energy_between(samples, []) is None
    assert energy_between(samples, [(0, 2 * SECOND)]) is None
    assert energy_between([], [(0, SECOND)]) is None


def test_the_hottest_sensor_of_the_processor_counts(tmp_path: Path) -> None:
    zones = {"pmic-die": "99000", "cpu-thermal": "51000", "soc0-thermal": "53500", "gpu": "60000"}
    files = {}
    for number, (name, heat) in enumerate(zones.items()):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = name
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = heat
    files["sys/class/thermal/thermal_zone9/type"] = "tj-thermal"
    files["sys/class/thermal/thermal_zone9/temp"] = "-256000"
    plant(tmp_path, files)
    assert (processor_celsius(tmp_path), gpu_celsius(tmp_path)) == (53.5, 60.0)


@pytest.mark.parametrize(
    ("driver", "labels", "celsius"),
    [
        ("coretemp", {"temp1": ("Package id 0", 61000), "temp2": ("Core 0", 64000)}, 61.0),
        ("k10temp", {"temp1": ("Tctl", 75000), "temp2": ("Tdie", 55000)}, 55.0),
        ("k10temp", {"temp1": ("Tctl", 75000)}, 75.0),
        ("nvme", {"temp1": ("Composite", 40000)}, None),
    ],
)
def test_processors_of_pcs_tell_by_hwmon(
    tmp_path: Path, driver: str, labels: dict[str, tuple[str, int]], celsius: float | None
) -> None:
    hwmon = "sys/class/hwmon/hwmon0"
    files = {f"{hwmon}/name": driver}
    for name, (label, heat) in labels.items():
        files[f"{hwmon}/{name}_label"] = label
        files[f"{hwmon}/{name}_input"] = str(heat)
    assert processor_celsius(plant(tmp_path, files)) == celsius


def test_cooling_that_takes_speed_is_named_and_fans_are_not(tmp_path: Path) -> None:
    assert slowed_by(tmp_path / "nothing") is None
    devices = {"pwm-fan": 4, "cpufreq-cpu0": 0, "gpu-throttle-alert": 1, "intel_powerclamp": -1}
    for number, (name, state) in enumerate(devices.items()):
        device = f"sys/class/thermal/cooling_device{number}"
        plant(tmp_path, {f"{device}/type": name, f"{device}/cur_state": str(state)})
    assert slowed_by(tmp_path) == ("gpu-throttle-alert",)
    plant(tmp_path, {"sys/class/thermal/cooling_device2/cur_state": "0"})
    assert slowed_by(tmp_path) == ()


def test_the_firmware_of_a_raspberry_pi_says_what_it_does_now(tmp_path: Path) -> None:
    file = "sys/devices/platform/soc/soc:firmware/get_throttled"
    assert slowed_by(plant(tmp_path, {file: "50005\n"})) == (
        "firmware: under-voltage",
        "firmware: throttled",
    )
    # The upper half is history.
    assert slowed_by(plant(tmp_path, {file: "50000\n"})) == ()


def test_over_current_of_a_jetson_is_counted(tmp_path: Path) -> None:
    hwmon = "sys/class/hwmon/hwmon3"
    plant(tmp_path, {f"{hwmon}/name": "soctherm_oc", f"{hwmon}/oc1_event_cnt": "2"})
    plant(tmp_path, {f"{hwmon}/oc3_event_cnt": "40", f"{hwmon}/oc3_throt_en": "1"})
    assert overcurrent_events(tmp_path) == 42


def test_a_gpu_on_the_processors_chip_tells_its_clock_and_heat(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
            "sys/class/devfreq/15340000.vic/cur_freq": "729600000\n",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "48500\n",
        },
    )
    assert gpu_state(tmp_path) == GpuState(mhz=624.75, celsius=48.5)


class Nvml(ModuleType):
    """The calls of nvidia-ml-py that are made, answering for some GPUs."""

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: dict[str, int], opens: bool = True) -> None:
        super().__init__("pynvml")
        self.gpus = gpus
        self.opens = opens

    def nvmlInit(self) -> None:
        if not self.opens:
            raise self.NVMLError("Driver/library version mismatch")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, int]:
        return self.gpus[index]

    def _answer(self, gpu: dict[str, int], what: str) -> int:
        if what not in gpu:
            raise self.NVMLError("Not Supported")
        return gpu[what]

    def nvmlDeviceGetClockInfo(self, gpu: dict[str, int], kind: int) -> int:
        assert kind == self.NVML_CLOCK_SM
        return self._answer(gpu, "mhz")

    def nvmlDeviceGetTemperature(self, gpu: dict[str, int], kind: int) -> int:
        assert kind == self.NVML_TEMPERATURE_GPU
        return self._answer(gpu, "celsius")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: dict[str, int]) -> int:
        return self._answer(gpu, "reasons")

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: dict[str, int]) -> int:
        return self._answer(gpu, "mj")


def test_nvml_tells_of_all_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"mhz": 1410, "celsius": 61, "reasons": 0x1 | 0x2, "mj": 7}
    two = {"mhz": 300, "celsius": 83, "reasons": 0x20 | 0x4, "mj": 3}
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(one, two))
    assert gpu_state(plant(tmp_path, NVIDIA)) == GpuState(
        mhz=1410.0,
        celsius=83.0,
        throttle=("software power cap", "software thermal slowdown"),
        energy_nj=10_000_000,
    )


def test_an_idle_gpu_and_clocks_that_were_set_are_no_throttling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml({"mhz": 1000, "reasons": 0x103}))
    found = gpu_state(plant(tmp_path, NVIDIA))
    assert (found.throttle, found.celsius, found.energy_nj) == ((), None, None)


def test_a_jetson_whose_nvml_refuses_is_asked_by_devfreq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml({}))
    plant(tmp_path, {**NVIDIA, "sys/class/devfreq/gpu-gpc-0/cur_freq": "1000000000"})
    assert gpu_state(tmp_path) == GpuState(mhz=1000.0)


def test_why_a_gpu_tells_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, NVIDIA)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(opens=False))
    assert "mismatch" in (gpu_state(tmp_path).untold or "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pip install nvidia-ml-py" in (gpu_state(tmp_path).untold or "")


def test_nvml_is_not_asked_where_no_driver_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml({"mhz": 1410}))
    assert gpu_state(tmp_path) == GpuState()
