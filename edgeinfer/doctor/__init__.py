"""What is wrong with this environment, and what to do about it. Changes nothing.

Each check takes a `Box` and yields findings; to add one, write a function and name it in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from edgeinfer.doctor import (
    clock,
    hardware,
    heat,
    imports,
    interpreter,
    jetson,
    libraries,
    memory,
    permissions,
    processors,
    proof,
    storage,
    variables,
    wheels,
)
from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, warn
from edgeinfer.errors import EdgeInferError

__all__ = ["CHECKS", "Box", "Finding", "examine"]

CHECKS: Mapping[str, Callable[[Box], Iterable[Finding]]] = MappingProxyType(
    {
        "interpreter": interpreter.check,
        "wheels": wheels.check,
        "packages": imports.check,
        "variables": variables.check,
        "quota": processors.quota,
        "threads": processors.threads,
        "governor": processors.governor,
        "clocks": processors.clocks,
        "temperature": heat.temperature,
        "supply": heat.supply,
        "memory": memory.check,
        "shared memory": memory.shared,
        "cache": storage.cache,
        "temporary files": storage.temporary,
        "clock": clock.check,
        "board": hardware.board,
        "jetson": jetson.check,
        "gpu": hardware.gpu,
        "npu": hardware.npu,
        "devices": permissions.check,
        "libraries": libraries.check,
        "providers": proof.check,
    }
)


def examine(
    box: Box,
    checks: Mapping[str, Callable[[Box], Iterable[Finding]]],
    begun: Callable[[int], None] = lambda done: None,
) -> list[Finding]:
    """Run the checks; one that fails itself becomes a finding.

    Args:
        begun: called before each check with the number of those that are done.
    """
    findings: list[Finding] = []
    for done, (name, check) in enumerate(checks.items()):
        begun(done)
        try:
            findings += check(box)
        except EdgeInferError as error:
            findings.append(warn(name, "this check could not run", str(error)))
        except Exception as error:
            findings.append(
                warn(
                    name,
                    f"this check could not finish ({type(error).__name__}: {error})",
                    "it says nothing about the box; please report it as a bug in edgeinfer",
                )
            )
    return findings
