"""From a path to an opened session: by the stored plan where one fits, vetted first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.artifact import ModelFile, open_model_file
from edgeinfer.errors import EdgeInferError, SpecError, UsageError, suggest
from edgeinfer.machine import usable_cpus
from edgeinfer.model.embedded import embedded_file
from edgeinfer.model.options import LoadOptions
from edgeinfer.model.planned import Found, find_plans
from edgeinfer.plan import Plan, StoredPlan, find_variants
from edgeinfer.providers import (
    Opening,
    Selected,
    Vetting,
    open_selected,
    opening_runs,
    parse_provider,
    runtime_version,
)
from edgeinfer.records import dataclass
from edgeinfer.resolve import Opened, resolve
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec, of_shape

if TYPE_CHECKING:
    from edgeinfer.providers.headstart import HeadStart

# Beyond this many threads a processor nothing is gained, and inference crawls or hangs.
_MOST_THREADS_A_CPU = 8
_ALWAYS_ALLOWED = 16


@dataclass(frozen=True)
class Session:
    """A model file that is open on a provider.

    Attributes:
        file: what was asked for.
        running: the file that runs: the same, or the variant that a plan chose.
        selected: the provider's engine, and what it was opened with.
        plan: how it was opened.
        graph_inputs: the inputs of the file, before preprocessing moved into the graph.
        fed_inputs: the spec of the inputs as they are fed, where preprocessing is in the graph.
        notes: what is worth telling about the plan, for people.
        vetting: of the file that runs; it has been opened, but perhaps not yet run.
    """

    file: ModelFile
    running: ModelFile
    selected: Selected
    plan: Plan
    graph_inputs: tuple[TensorSpec, ...]
    fed_inputs: tuple[InputSpec, ...] | None = None
    notes: tuple[str, ...] = ()
    vetting: Vetting | None = None

    def check_vetted(self) -> None:
        """Wait until a child has run the file once: nobody runs it here before.

        Raises:
            ModelFileError: if that killed or hung the child.
        """
        if self.vetting is not None:
            self.vetting.finish()

    def close(self) -> None:
        """Let the engine and the vetting go; a second call does nothing."""
        self.selected.engine.close()
        if self.vetting is not None:
            self.vetting.settle()

    def resolve(self, options: LoadOptions) -> ModelSpec:
        """Find out what the model expects and means.

        Raises:
            SpecError: if that is unknown, ambiguous or contradictory.
            UsageError: if a shape was given for an input that does not exist.
        """
        engine = self.selected.engine
        shapes = {item.name: item.shape for item in self.graph_inputs}
        for name, wanted in options.input_shapes.items():
            if name not in shapes:
                raise UsageError(f"The model has no input '{name}'. {suggest(name, shapes)}")
            if not of_shape(wanted, shapes[name]):
                raise SpecError(
                    f"The input '{name}' is {list(shapes[name])} in the file, so it cannot be "
                    f"{list(wanted)}: only open dimensions may be chosen. Export the model in that "
                    f"size."
                )
        opened = Opened(
            self.running.path,
            self.graph_inputs,
            engine.outputs,
            engine.metadata,
            options.input_shapes,
        )
        return resolve(opened, options.overrides())


def threads_of(options: LoadOptions) -> int:
    """Threads of the whole process."""
    return options.threads if options.threads is not None else usable_cpus()


def open_session(path: Path, options: LoadOptions, started: HeadStart | None = None) -> Session:
    """Open a model file, by its stored plan where that fits.

    Args:
        started: where the vetting of the file may be under way.

    Raises:
        ModelFileError: if it is missing, damaged, hostile or no model.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names, or far more threads than processors.
    """
    parse_provider(options.provider)
    notes = _check_threads(options)
    file = open_model_file(path)
    if options.variants:
        find_variants(file, options.variants)  # refuses what is none
    passed: list[str] = []
    for found in find_plans(file, options, passed):
        session = _try_planned(file, found, options, (*notes, *found.notes), started)
        if not isinstance(session, str):
            return session
        passed.append(session)
    why = "; ".join(passed)
    if options.plan is not None:
        raise EdgeInferError(
            f"No stored plan of {path} for {options.plan} can be used: {why or 'there is none'}. "
            f"'edgeinfer tune {path} --objective {options.plan}' makes one."
        )
    if options.variants and not passed and options.use_plan:
        notes += (
            f"--variant names what a stored plan may choose, and there is none: run 'edgeinfer "
            f"tune {path} --variant {options.variants[0]}' first",
        )
    if passed:
        notes += (f"the stored plan is not used: {why}. 'edgeinfer tune {path}' measures anew",)
    return _open_asked(file, options, notes, started)


class _NotAsMeasured(EdgeInferError):
    """The model means something else now than when its plan was measured."""


def _check_threads(options: LoadOptions) -> tuple[str, ...]:
    if options.threads is None:
        return ()
    cpus = usable_cpus()
    most = max(_ALWAYS_ALLOWED, _MOST_THREADS_A_CPU * cpus)
    if options.threads > most:
        raise UsageError(
            f"threads is {options.threads}, but this process may use {cpus} processors: more than "
            f"{most} would only wait for each other. Give {cpus}, or leave it out."
        )
    if options.threads > cpus:
        return (
            f"{options.threads} threads share {cpus} processors, which is often slower than "
            f"{cpus} threads",
        )
    return ()


def _try_planned(
    file: ModelFile,
    found: Found,
    options: LoadOptions,
    notes: tuple[str, ...],
    started: HeadStart | None,
) -> Session | str:
    """What a plan opens, or why it does not."""
    try:
        return _open_planned(file, found, options, notes, started)
    except _NotAsMeasured as error:
        return str(error)
    except EdgeInferError as error:
        return f"opening by it failed ({error})"


def _open_planned(
    file: ModelFile,
    found: Found,
    options: LoadOptions,
    notes: tuple[str, ...],
    started: HeadStart | None,
) -> Session:
    plan, running, choice = found.plan, found.running, found.plan.choice
    threads, lanes = _shared_out(plan, options)
    opened, fed = running, None
    if choice.preprocess == "graph":
        path, spec = embedded_file(running, ModelSpec("tensor", "tensor", inputs=plan.inputs))
        opened, fed = open_model_file(path), spec.inputs
    opening = Opening(
        path=opened.path,
        threads=max(1, threads // lanes),
        spinning=choice.spinning,
        lanes=lanes,
        options=choice.options,
        shapes={} if fed else options.input_shapes,
        max_cpu_nodes=options.max_cpu_nodes,
        sha256=opened.sha256,
        build=options.build,
    )
    vetting = Vetting(running, started=started if running is file else None)
    selected = _vetted(vetting, lambda: open_selected(choice.provider, opening))
    try:
        served = dataclasses.replace(
            selected.served,
            requested_provider=options.provider,
            skipped_providers=dict(plan.document.get("skipped_providers", {})),
        )
        inputs = plan.graph_inputs if fed else selected.engine.inputs
        session = Session(
            file,
            running,
            dataclasses.replace(selected, served=served),
            Plan(
                "tuned",
                threads,
                preprocess=choice.preprocess,
                lanes=lanes,
                spinning=choice.spinning,
            ),
            inputs,
            fed,
            (*notes, _used(found, file, threads, lanes)),
            vetting,
        )
        if session.resolve(options).inputs != plan.inputs:
            raise _NotAsMeasured("the model's input is described in another way than then")
    except EdgeInferError:
        selected.engine.close()
        vetting.close()
        raise
    return session


def _used(found: Found, file: ModelFile, threads: int, lanes: int) -> str:
    """What to tell of a stored plan that is used, and of what is not as it says."""
    plan, planned = found.plan, found.plan.choice.lanes
    note = f"the stored plan is used: {plan.text()}{found.why}"
    if found.running is not file:
        note += f"; {found.running.path} runs in place of {file.path}"
    if lanes > planned:
        note += f"; {lanes} frames at once on {threads} threads, since only the whole counts"
    elif lanes < planned:
        note += (
            f"; one frame at a time, on all {threads} threads, since each frame counts "
            f"(--lanes {planned} runs {planned} at once)"
        )
    return f"{note} [{plan.path}]"


def _shared_out(plan: StoredPlan, options: LoadOptions) -> tuple[int, int]:
    """Threads of the process, and how many inferences share them."""
    choice = plan.choice
    if not options.recording:
        # Frames that come one by one would wait for a part of the threads.
        return choice.threads, options.lanes or 1
    if plan.objective == "throughput":
        return choice.threads, choice.lanes
    # What answers one frame soonest may leave processors idle, which a recording need not.
    threads = max(choice.threads, threads_of(options))
    return threads, options.lanes_on(choice.provider.partition(":")[0], threads)


def _vetted(vetting: Vetting, opening: Callable[[], Selected]) -> Selected:
    """Open a file that a child has opened before, and that it runs once from then on.

    Raises:
        ModelFileError: if the file is hostile or damaged.
    """
    try:
        # The child opens the file while this process imports what it needs.
        vetting.opened(runtime_version())
        if opening_runs():
            vetting.finish()
        selected = opening()
        vetting.go_on()
        return selected
    except BaseException:
        vetting.close()
        raise


def _open_asked(
    file: ModelFile, options: LoadOptions, notes: tuple[str, ...], started: HeadStart | None
) -> Session:
    """Open what was asked for as the options say, defaults where they say nothing."""
    threads = threads_of(options)
    lanes = options.lanes_on(parse_provider(options.provider)[0], threads)
    spinning = True if options.spinning is None else options.spinning
    opening = Opening(
        path=file.path,
        threads=max(1, threads // lanes),
        spinning=spinning,
        lanes=lanes,
        options=options.provider_options,
        shapes=options.input_shapes,
        max_cpu_nodes=options.max_cpu_nodes,
        sha256=file.sha256,
        build=options.build,
    )
    vetting = Vetting(file, started=started)
    selected = _vetted(
        vetting, lambda: open_selected(options.provider, opening, options.allow_fallback)
    )
    said = {key for key in options.said() if key != "input_shapes"}
    plan = Plan(
        "options" if said else "default",
        threads,
        lanes=lanes,
        spinning=spinning,
    )
    inputs = selected.engine.inputs
    session = Session(file, file, selected, plan, inputs, notes=notes, vetting=vetting)
    return session if options.preprocess != "graph" else _with_raw_pictures(session, options)


def _with_raw_pictures(session: Session, options: LoadOptions) -> Session:
    """The same with preprocessing in the graph."""
    selected = session.selected
    try:
        path, fed = embedded_file(session.file, session.resolve(options))
        sha256 = open_model_file(path).sha256
        inner = selected.reopen(
            dataclasses.replace(selected.opening, path=path, shapes={}, sha256=sha256)
        )
    except BaseException:
        session.close()
        raise
    selected.engine.close()
    return dataclasses.replace(
        session,
        selected=inner,
        plan=dataclasses.replace(session.plan, preprocess="graph"),
        fed_inputs=fed.inputs,
    )
