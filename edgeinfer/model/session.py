"""From a path to an opened session, vetted first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeinfer.artifact import ModelFile, open_model_file
from edgeinfer.errors import InputError, suggest
from edgeinfer.machine import usable_cpus
from edgeinfer.model.options import LoadOptions
from edgeinfer.providers import (
    Opening,
    Selected,
    Vetting,
    open_selected,
    parse_provider,
    runtime_version,
)
from edgeinfer.resolve import Opened, resolve
from edgeinfer.spec import ModelSpec


@dataclass(frozen=True)
class Session:
    """A model file that is open on a provider; what it means is not known yet."""

    file: ModelFile
    opening: Opening
    selected: Selected

    def resolve(self, options: LoadOptions) -> ModelSpec:
        """Find out what the model expects and means.

        Raises:
            SpecError: if that is unknown, ambiguous or contradictory.
            InputError: if a shape was given for an input that does not exist.
        """
        engine = self.selected.engine
        names = [item.name for item in engine.inputs]
        for name in options.input_shapes:
            if name not in names:
                raise InputError(f"The model has no input '{name}'. {suggest(name, names)}")
        opened = Opened(
            self.file.path, engine.inputs, engine.outputs, engine.metadata, options.input_shapes
        )
        return resolve(opened, options.overrides())


def threads_of(options: LoadOptions) -> int:
    """Threads of the whole process."""
    return options.threads if options.threads is not None else usable_cpus()


def open_session(path: Path, options: LoadOptions) -> Session:
    """Open a model file.

    Raises:
        ModelFileError: if it is missing, damaged, hostile or no model.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names.
    """
    parse_provider(options.provider)
    file = open_model_file(path)
    vetting = Vetting(file)
    try:
        # The child opens the file while this process imports what it needs.
        runtime = runtime_version()
        vetting.finish(runtime)
    finally:
        vetting.close()
    opening = Opening(
        path=file.path,
        threads=max(1, threads_of(options) // options.lanes),
        options=options.provider_options,
        shapes=options.input_shapes,
        max_cpu_nodes=options.max_cpu_nodes,
    )
    return Session(file, opening, open_selected(options.provider, opening, options.allow_fallback))
