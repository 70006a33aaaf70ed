"""Each provider, proven by running a tiny model on it in a child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.doctor.hardware import gpus
from edgeinfer.machine import l4t_release, nvidia_driver

_NVIDIA = ("cuda", "tensorrt")


def check(box: Box) -> Iterator[Finding]:
    """Run the proofs and judge them."""
    from edgeinfer.providers.probe import probe_all

    yield from judge(box, probe_all())


def judge(box: Box, proofs: list[dict[str, Any]]) -> Iterator[Finding]:
    """Turn what `edgeinfer.providers.probe.probe_all` found into findings.

    A provider that nobody installed is no fault; one that is installed and does not run is, where
    its device is there.
    """
    absent = []
    for proof in proofs:
        name = f"provider {proof['name']}"
        if proof["available"]:
            yield ok(name, _proven(proof))
        elif proof["name"] == "cpu":
            yield fail(
                name, str(proof["reason"]), "pip install --force-reinstall onnxruntime numpy"
            )
        elif proof["installed"]:
            yield _broken(box, name, proof)
        else:
            absent.append(str(proof["name"]))
    if absent:
        yield ok(
            "providers", f"not installed: {', '.join(absent)} ('edgeinfer providers' says why)"
        )
    yield from _idle_gpu(box, proofs)


def _proven(proof: Mapping[str, Any]) -> str:
    devices = ", ".join(map(str, proof["devices"]))
    return f"ran a tiny model with {proof['version']}" + (f" on {devices}" if devices else "")


def _broken(box: Box, name: str, proof: Mapping[str, Any]) -> Finding:
    reason = str(proof["reason"])
    if proof["name"] in _NVIDIA and "NVIDIA" not in gpus(box) and nvidia_driver(box.root) is None:
        return warn(
            name,
            f"onnxruntime is built for it, but there is no NVIDIA GPU here: {reason}",
            "nothing is lost (auto skips it); a smaller install: pip uninstall -y onnxruntime-gpu "
            "&& pip install onnxruntime",
        )
    if proof["name"] == "tensorrt":
        return warn(name, reason, "install TensorRT's packages, or leave it: auto goes on to cuda")
    if not proof["started"] and proof["name"] != "cuda" and "its library" not in reason:
        return warn(
            name,
            f"it is installed, but this box is not for it: {reason}",
            "nothing is lost (auto skips it); uninstall its wheel where it is not wanted",
        )
    remedy = "see the findings on libraries, wheels and gpu first; then install its wheel anew"
    if proof["name"] == "cuda":
        remedy = (
            "pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA and cuDNN as wheels; the "
            "findings on libraries and gpu say what does not fit"
        )
    return fail(name, reason, remedy)


def _idle_gpu(box: Box, proofs: list[dict[str, Any]]) -> Iterator[Finding]:
    """An NVIDIA GPU with a driver, and nothing that uses it."""
    if nvidia_driver(box.root) is None:
        return
    installed = [proof["name"] for proof in proofs if proof["installed"]]
    if not any("cuda" in name or "tensorrt" in name or "rtx" in name for name in installed):
        if l4t_release(box.root) is not None:
            remedy = (
                "pip uninstall -y onnxruntime, then install the onnxruntime-gpu wheel that is "
                "built for this JetPack"
            )
        else:
            remedy = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
        yield warn("providers", "the NVIDIA GPU stays idle: no provider for it is here", remedy)
