"""One run of one script: where its networks run, how they are corrected, and whether they were."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.util import register_after_fork
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from torch import nn

from ganfix_plugin import registry
from ganfix_plugin._version import __version__
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.find import NotRecognised
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.counts import add_counts, leave_counts
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.hosts.compat import needed
from ganfix_plugin.hosts.console import speak
from ganfix_plugin.hosts.devices import resolve_device
from ganfix_plugin.hosts.flags import MetricOptions
from ganfix_plugin.hosts.generic import GENERIC, Noticing, Word
from ganfix_plugin.hosts.host import Function, Host, Situation, Wrapper, around, opening
from ganfix_plugin.hosts.record import CommandLine, leave
from ganfix_plugin.spec import Options

if TYPE_CHECKING:
    from ganfix_plugin.hooks.attachment import Attachment
    from ganfix_plugin.hosts.screening import Screen
    from ganfix_plugin.hosts.watch import Weights

log = logging.getLogger("ganfix")


@dataclass(frozen=True)
class Run:
    """What every process of a run knows, those that the script spawns included.

    Attributes:
        situation: the checkout and the device.
        host: the name of the host whose script it is; "" outside every known codebase.
        specs: every ``--correct``, in the order given.
        metrics: what its metrics work with.
        line: what was typed, for the record beside the images.
        word: what the user says of the generator.
        reports: the folder in which spawned processes leave their counts.
        provenance: what was corrected, by what, from which measurements; empty until then.
    """

    situation: Situation
    host: str = ""
    specs: tuple[BoundSpec, ...] = ()
    metrics: MetricOptions = MetricOptions()
    line: CommandLine = CommandLine()
    word: Word = Word()
    reports: Path | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def apart(self) -> str:
        """The folder, below the host's own, for what must not lie among an ordinary run's; empty
        for an ordinary run."""
        parts = ["corrected"] if self.specs else []
        if self.metrics.detector:
            parts.append(f"detector-{self.metrics.detector.digest[:8]}")
        return os.path.join("", *parts)


@dataclass
class Session:
    """A run as one process sees it; what the wrappers of a host's functions share.

    Processes that the script spawns get a session of the same run before they import anything of
    the host: it rides in the data that multiprocessing sends them first.

    Attributes:
        run: what all processes share.
        screen: ``--screen``, if it was given. Only the first process screens.
        attachments: what was corrected so far in this process.
        until_end: what is undone when the session is not installed any longer.
        weights: of what was corrected, as they were then.
        seeds: of the images that the script will render, in their order, where they are known.
        left: how many images remain to be rendered after screening.
        notes: what a metric's record says besides, by the metric's name.
    """

    run: Run
    screen: Screen | None = None
    attachments: list[Attachment] = field(default_factory=list)
    until_end: ExitStack = field(default_factory=ExitStack)
    weights: list[Weights] = field(default_factory=list)
    seeds: Sequence[int] = ()
    left: int | None = None
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def host(self) -> Host:
        """Whose script it is."""
        return registry.load(registry.HOSTS, self.run.host) if self.run.host else GENERIC

    @cached_property
    def noticing(self) -> Noticing:
        """The networks of the script."""
        return Noticing(self._prepare, self.run.word)

    def record(self, metric: str) -> dict[str, Any]:
        """What a metric's record must say about this run."""
        detector = self.run.metrics.detector
        seen_by = {"detector": str(detector)} if detector else {}
        return {**self.run.provenance, **seen_by, **self.notes.get(metric, {})}

    def prepare(self, G: nn.Module, discriminator: nn.Module | None = None) -> None:
        """Correct a generator that a wrapper has come across, and screen the seeds that the script
        is about to give to it, as far as the run asks for that.

        Measuring it first takes nothing out of the random stream that the script draws from.
        """
        if not self.run.specs and not self.screen:
            return
        word = self.run.word
        with self.noticing.apart(), random_state_kept(G):
            try:
                generator = Generator.of(G, word.adapter_name, word.layers, guess=False)
            except NotRecognised:
                if self.screen:
                    raise
                return  # its first call will tell more
            self._prepare(generator, discriminator, self.run.situation.device)
        self.noticing.known(G)

    def _prepare(
        self,
        generator: Generator,
        discriminator: nn.Module | None = None,
        measure_on: str | None = None,
    ) -> None:
        # Here, because scripts that correct nothing would wait for it.
        from ganfix_plugin.api import attach
        from ganfix_plugin.correctors.plan import reads_probe
        from ganfix_plugin.hosts.watch import Weights

        G, device = generator.G, self.run.situation.device
        with random_state_kept(G):
            if discriminator is None and any(map(reads_probe, self.run.specs)):
                discriminator = self.host.discriminator_of(G)
            generator = replace(generator, discriminator=discriminator, options=self.opening())
            if self.run.specs:
                attached = attach(generator, *self.run.specs, measure_on=measure_on)
                self.attachments.append(attached)
                if any(correction.layers for correction in attached.corrections):
                    specs = " ".join(map(str, self.run.specs))
                    self.noticing.watch(generator, specs)
                    self.weights.append(Weights.of(generator))
                profiles = {correction.profile for correction in attached.corrections}
                provenance = {
                    "correct": " ".join(correction.text for correction in attached.corrections),
                    "profile": " ".join(sorted(filter(None, profiles))),
                    "ganfix": __version__,
                }
                self.run = replace(self.run, provenance=provenance)
        context = click.get_current_context(silent=True)
        options = context.params if context else {}
        if self.screen:
            measuring = next((spec.options for spec in self.run.specs), Options())
            with random_state_kept(G):
                self.left = self.screen.apply(generator, options, measuring, measure_on or device)
        if options.get("projected_w") is None:
            self.seeds = options.get(self.host.seeds.get(Path(sys.argv[0]).name, "")) or ()

    def opening(self) -> str:
        """The options with which a command opens the network that this script was given."""
        network, situation = self.host.network(sys.argv[1:]), self.run.situation
        device = situation.device if situation.device != resolve_device(None) else None
        return opening(network, situation.checkout, device)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Apply the workarounds and wrap the host's functions, in this process and its children."""
        workarounds = needed(self.host, self.run.situation)
        with self.until_end as stack:
            for workaround, _ in workarounds:
                stack.enter_context(workaround.apply(self.run.situation))
            for wrapper in self.host.wrappers:
                stack.enter_context(wrapper.installed(self))
            if not self.run.reports:
                folder = tempfile.TemporaryDirectory(prefix="ganfix-")
                self.run = replace(self.run, reports=Path(stack.enter_context(folder)))
            corrects = self.run.specs or self.screen
            if corrects:
                stack.enter_context(self.noticing.installed())
            if workarounds or self.host.wrappers or corrects:
                spawn = Wrapper("multiprocessing.spawn", "get_preparation_data", _with_session)
                stack.enter_context(spawn.installed(self))
                register_after_fork(self, Session.leave_counts)
            yield

    def __reduce__(self) -> Any:
        return _continue, (self.run,)

    def finish(self) -> None:
        """Say what was corrected, here and in the processes spawned.

        Raises:
            GanfixError: if something should have been corrected or screened and nothing was.
        """
        if self.screen and self.left is None:
            raise GanfixError(
                f"--screen {self.screen}: nothing was screened, because no generator was ever "
                "loaded; see --help of the script for what it needs"
            )
        if not self.run.specs or self.left == 0:
            return
        reports = list(self.run.reports.iterdir()) if self.run.reports else []
        for file in reports:
            add_counts(file)
            file.unlink()
        if not self.attachments and not reports:
            specs = " ".join(map(str, self.run.specs))
            raise GanfixError(
                f"--correct {specs}: nothing was corrected, because {self.noticing.story()}"
            )
        for weights in self.weights:
            weights.check()
        # A script may load networks that it never runs, as long as it runs one.
        ran = [attached for attached in self.attachments if attached.ran]
        for attached in ran or self.attachments:
            attached.check()
            log.info("%s", attached.summary())
        leave(self.run.line, self.run.provenance, self.attachments, self.seeds)

    def report(self) -> None:
        """Say what was corrected by generators of this spawned process's own."""
        for attached in self.attachments:
            log.info("%s", attached.summary())

    def leave_counts(self) -> None:
        """In a process that the script started: leave counts where the first process finds them."""
        if self.run.reports:
            leave_counts(self.run.reports / str(os.getpid()))


@around
def _with_session(session: Session, prepare: Function, name: str) -> dict[str, Any]:
    return {**prepare(name), "ganfix": session}


def _continue(run: Run) -> Session:
    """Unpickle a session, which happens in a spawned process, and install it there for good."""
    speak()
    session = Session(run)
    session.leave_counts()
    installed = session.installed()
    installed.__enter__()
    atexit.register(installed.__exit__, None, None, None)
    atexit.register(session.report)
    return session
