"""Processors of graphics and of neural networks: what is there, and what loads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.machine import board_model, l4t_release, nvidia_driver, read

# https://pci-ids.ucw.cz; the rest (virtio, ASPEED, VMware, ...) only shows a screen.
_GPUS = {"0x10de": "NVIDIA", "0x8086": "Intel", "0x1002": "AMD"}
# What the kernel calls the driver of a processor under /sys/class/accel.
_ACCEL_DRIVERS = {"intel_vpu": "Intel NPU", "amdxdna": "AMD NPU", "habanalabs": "Intel Gaudi"}
_NODES = {
    "dev/hailo[0-9]*": "Hailo",
    "dev/apex_[0-9]*": "Coral Edge TPU",
    "dev/fastrpc-cdsp*": "Qualcomm Hexagon",
    "dev/adsprpc-smd*": "Qualcomm Hexagon",
    "sys/class/misc/rknpu": "Rockchip NPU",
    "sys/class/devfreq/*.npu": "Rockchip NPU",
    "sys/kernel/debug/rknpu/version": "Rockchip NPU",
}
# Standard folders only: /usr/local/cuda/compat is newer than the driver on purpose.
_LIBCUDA = (
    "usr/lib/x86_64-linux-gnu/libcuda.so.*.*",
    "usr/lib/aarch64-linux-gnu/libcuda.so.*.*",
    "usr/lib64/libcuda.so.*.*",
)


def gpus(box: Box) -> list[str]:
    """The makers of the GPUs that can compute, by their PCI class (0x03) and vendor."""
    found = []
    for device in box.glob("sys/bus/pci/devices/*"):
        vendor = _GPUS.get(read(device / "vendor") or "")
        if vendor and (read(device / "class") or "").startswith("0x03"):
            found.append(vendor)
    if l4t_release(box.root) is not None:
        found.append("NVIDIA")
    return found


def gpu(box: Box) -> Iterator[Finding]:
    """Each GPU and whether its driver is loaded, and the same as its library."""
    found = gpus(box)
    release = l4t_release(box.root)
    driver = nvidia_driver(box.root)
    if release is None and ("NVIDIA" in found or driver is not None):
        yield _nvidia(box, driver)
    if release is not None:
        yield ok("gpu", f"NVIDIA, part of the board (Jetson Linux {release})")
    others = [maker for maker in found if maker != "NVIDIA"]
    if others:
        yield ok("gpu", ", ".join(others))
    if not found and driver is None:
        yield ok("gpu", "none that can compute")


def _nvidia(box: Box, driver: str | None) -> Finding:
    if driver is None:
        return warn(
            "gpu",
            "an NVIDIA GPU is in this box, but its driver is not loaded",
            "sudo ubuntu-drivers install (or NVIDIA's own packages), restart, then nvidia-smi; "
            "with Secure Boot the module must be signed",
        )
    if not box.glob("dev/nvidia[0-9]*"):
        return warn(
            "gpu",
            f"the NVIDIA driver {driver} is loaded, but no GPU can be reached (/dev/nvidia0)",
            "in a container: docker run --gpus all, with nvidia-container-toolkit on the host"
            if box.contained
            else "sudo nvidia-modprobe -c0 -u, or see dmesg for why the GPU did not start",
        )
    libraries = {
        path.name.removeprefix("libcuda.so.") for name in _LIBCUDA for path in box.glob(name)
    }
    if libraries and driver not in libraries:
        return fail(
            "gpu",
            f"NVIDIA's module is {driver}, its library is {', '.join(sorted(libraries))}: nothing "
            f"runs on the GPU",
            "restart the box: the driver was upgraded under way (in a container, restart it)",
        )
    told = box.run(
        ["nvidia-smi", "--query-gpu=name,memory.total,temperature.gpu", "--format=csv,noheader"]
    )
    names = "; ".join(" ".join(line.split()) for line in (told or "").splitlines())
    return ok("gpu", f"NVIDIA {names or '(nvidia-smi tells nothing)'}, driver {driver}")


def npu(box: Box) -> Iterator[Finding]:
    """Each NPU that the kernel shows; None is usual."""
    found: dict[str, Path] = {}
    for device in box.glob("sys/class/accel/accel*"):
        driver = (device / "device/driver").resolve().name
        found.setdefault(_ACCEL_DRIVERS.get(driver, f"accelerator ({driver})"), device)
    for pattern, name in _NODES.items():
        for path in box.glob(pattern):
            found.setdefault(name, path)
    if not found:
        yield ok("npu", "none that the kernel shows")
    for name, path in found.items():
        served = "provider openvino:NPU can use it" if name == "Intel NPU" else (
            "used where a plugin provider for it is installed"
        )  # fmt: skip
        yield ok("npu", f"{name} ({box.shown(path)}); {served}")


def board(box: Box) -> Iterator[Finding]:
    """The board, where it is one."""
    model = board_model(box.root)
    if model is not None:
        yield ok("board", model)
