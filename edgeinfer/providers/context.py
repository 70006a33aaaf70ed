"""What a provider compiled, kept by ONNX Runtime's own means: a graph of EPContext nodes.

For providers that keep nothing themselves. The compiled graph is opened in place of the model and
keeps its inputs, outputs and metadata; what the provider compiled lies in files beside it.
https://onnxruntime.ai/docs/execution-providers/EP-Context-Design.html
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeinfer import cache, compiled
from edgeinfer.errors import ProviderError
from edgeinfer.machine import this_machine
from edgeinfer.providers import optimized
from edgeinfer.providers.base import Keeping, Opening
from edgeinfer.providers.ort import onnxruntime, runtime_message

KIND = "onnxruntime-context"
_GRAPH = "context.onnx"
_UNFIT = "contexts-unfit"


class Context:
    """The compiled graph of one opening: found, built, or not to be had.

    Args:
        provider: our name of it.
        options: all that it is opened with.
        settings: makes the session settings that it is compiled with, the provider among them.

    Attributes:
        refused: why there is none, where building or opening it failed.
    """

    def __init__(
        self,
        opening: Opening,
        provider: str,
        keeping: Keeping,
        options: Mapping[str, str],
        settings: Callable[[], Any],
    ) -> None:
        self._opening = opening
        self._provider = provider
        self._keeping = keeping
        self._settings = settings
        self.refused: str | None = None
        machine = this_machine()
        self._key = {
            "sha256": opening.sha256,
            "provider": provider,
            "cpu": f"{machine.cpu} {' '.join(machine.features)}",
            # Drivers of NPUs and GPUs come with the kernel.
            "system": f"{platform.machine()} {platform.release()}",
            **{f"device {name}": value for name, value in keeping.device.items()},
            **{f"version {name}": value for name, value in keeping.versions.items()},
            **{f"option {name}": value for name, value in options.items()},
            **{f"shape {name}": str(shape) for name, shape in opening.shapes.items()},
        }
        self._note = cache.key_of(*(part for pair in sorted(self._key.items()) for part in pair))

    def graph(self) -> Path | None:
        """The compiled graph, built first where that is wanted; None where there is none.

        Raises:
            ProviderError: if compiling takes minutes and is not allowed.
        """
        folder = compiled.find(KIND, self._key)
        if folder is None and self._keeping.slow and not self._opening.build:
            path = self._opening.path
            raise ProviderError(
                f"{path} was not compiled for the provider '{self._provider}' yet, which takes "
                f"minutes: do it once with 'edgeinfer warm {path} --provider {self._provider}', or "
                f"give tune --build."
            )
        if folder is None and self._wanted():
            folder = self._build()
        return None if folder is None else folder / _GRAPH

    def _wanted(self) -> bool:
        """Whether it is to be built: ahead in any case, else where it pays and was not in vain."""
        if optimized.is_ahead():
            return True
        return self._keeping.at_once and cache.recall(_UNFIT, self._note) is None

    def _build(self) -> Path | None:
        try:
            return compiled.obtain(KIND, self._key, self._compile)
        except Exception as error:  # whatever a runtime raises; opening the model says it better
            self.refused = runtime_message(error)
            return None

    def _compile(self, folder: Path) -> None:
        """Write the compiled graph.

        Raises:
            Exception: whatever ONNX Runtime raises, also where nothing was compiled.
        """
        ort, model, target = onnxruntime(), str(self._opening.path), str(folder / _GRAPH)
        settings = self._settings()
        if hasattr(ort, "ModelCompiler"):
            flags = ort.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED
            ort.ModelCompiler(settings, model, flags=flags).compile_to_file(target)
            return
        entries = {"enable": "1", "file_path": target, "embed_mode": "0"}
        for name, value in entries.items():
            settings.add_session_config_entry(f"ep.context_{name}", value)
        ort.InferenceSession(model, settings, enable_fallback=0)
        if not Path(target).is_file():
            raise ProviderError("nothing was compiled")

    def drop(self, why: str) -> None:
        """What was found or built does not open."""
        compiled.drop(KIND, self._key)
        self.refused = why

    def give_up(self) -> None:
        """The model itself opens: what refused to be kept is not built again unasked."""
        cache.note(_UNFIT, self._note, {"why": self.refused})
        compiled.tell(
            f"{self._provider} compiles {self._opening.path.name} anew at each opening, because "
            f"what it saves is of no use ({self.refused})"
        )
