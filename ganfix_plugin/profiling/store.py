"""Where profiles are kept, each measured exactly once."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import cache_folder, why_not
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    check_class,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling.measure import Measuring, Needed
from ganfix_plugin.profiling.profile import Extent, Profile, Settings
from ganfix_plugin.profiling.sweep import MOST, TAU
from ganfix_plugin.workers import Tensors, meeting_folder, shared, world

log = logging.getLogger("ganfix")

_MEASURING = ".measuring"  # the ending of sums that are not complete


def profile_path(generator: Generator, settings: Settings) -> Path:
    """The file of a generator's profile: one per fingerprint, adapter and settings."""
    which = f"{generator.fingerprint[:16]}-{generator.adapter.name}"
    which += "" if settings.samples is None else f"-n{settings.samples}"
    which += f"-s{settings.seed}"
    which += "" if settings.class_index is None else f"-class{settings.class_index}"
    which += "-exact" if generator.exact else ""
    return cache_folder() / "profiles" / f"{which}.safetensors"


def classifier_path(fingerprint: str) -> Path:
    """Where `ganfix fit` leaves the classifier of a generator, by fingerprint."""
    return cache_folder() / "classifiers" / f"{fingerprint[:16]}.safetensors"


def update(
    generator: Generator, settings: Settings, change: Callable[[Profile], Profile]
) -> tuple[Profile, Path]:
    """Change the stored profile of a generator, under its lock; starts one if there is none."""
    path = profile_path(generator, settings)
    with _locked(path):
        profile = change(_stored(generator, settings, path))
        profile.save(path)
    return profile, path


def ensure(
    generator: Generator,
    settings: Settings,
    layers: Sequence[Layer],
    scored: Sequence[Layer] = (),
    batch: int | None = None,
    measure_on: torch.device | str | None = None,
    thresholds: Sequence[Layer] = (),
    tau: float = TAU,
) -> tuple[Profile, Path]:
    """The stored profile of a generator, after measuring what it lacks.

    Stopped while it measures, it goes on from there the next time. Ranks that are started together
    (torchrun) measure a part each of a given number of latents, and one of them writes; the
    numbers are those of one process with the same batches. Where no number is given, or for
    thresholds, one of them measures.

    Args:
        layers: whose activation rates are needed.
        scored: the layers over which a gate's LR scores are needed, if any are.
        batch: latents per pass, by default what suits the device.
        measure_on: measure a copy of the generator on this device; None measures it where it is.
        thresholds: the layers whose units' thresholds are needed, at ``tau``.
    """
    path = profile_path(generator, settings)
    needed = Needed(tuple(layers), tuple(scored), tuple(thresholds), tau)

    def stored() -> tuple[Profile, Needed]:
        """The profile in the store, and what it lacks."""
        profile = _stored(generator, settings, path)
        return profile, needed.lacking(profile)

    profile, lacking = stored()
    if not lacking:
        return profile, path
    if settings.samples is not None and settings.samples < 1:
        raise GanfixError(f"samples={settings.samples}: expected at least 1")
    check_class(generator, settings.class_index, needed=False)
    if others := _numbers(generator, settings):
        numbers = " and ".join(map(str, others))
        log.info("the store also has numbers by samples=%s, which are used on demand", numbers)
    measuring = Measuring(on_device(generator, measure_on), batch, partial=partials(path))
    names = [[layer.name for layer in group] for group in (layers, scored)]
    folder, by_ranks = meeting_folder(path, *names, batch), None
    if world() > 1 and settings.samples is not None and (lacking.rates or lacking.scored):
        with _writable(path):
            folder.mkdir(parents=True, exist_ok=True)

        def others_are_done() -> bool:
            lacks = stored()[1]
            return not (lacks.rates or lacks.scored)

        def share(what: str, work: Callable[[int, int], Tensors]) -> list[Tensors]:
            return shared(folder / what, work, others_are_done)

        with random_state_kept(measuring.generator.G, settings.seed):
            by_ranks = measuring.share_out(profile, lacking, share)
    with _locked(path):
        # Another process may have finished the same work while this one waited.
        profile, lacking = stored()
        if lacking and by_ranks:
            scores = profile if by_ranks.lr_scores is None else by_ranks
            profile = replace(
                profile,
                counts=profile.counts | by_ranks.counts,
                extents=profile.extents | by_ranks.extents,
                lr_scores=scores.lr_scores,
                scored=scores.scored,
            )
        if lacking:
            with random_state_kept(measuring.generator.G, settings.seed):
                profile = measuring.complete(profile, needed.lacking(profile))
            profile.save(path)
            log.info("profile saved to %s", path)
        for partial in path.parent.glob(f"{path.stem}.*{_MEASURING}"):
            partial.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return profile, path


def checked(path: Path, generator: Generator) -> Profile:
    """Load a profile and refuse one of another generator."""
    return Profile.load(path).check(generator, path)


def _stored(generator: Generator, settings: Settings, path: Path) -> Profile:
    """The profile in a file of the store, or one that holds nothing yet.

    Where no number of latents is asked for, what was measured on as many as would be taken at most
    is as good, and becomes a part of it.
    """
    # os.path.exists, because Path.exists raises where a folder may not be looked into.
    if os.path.exists(path):
        return checked(path, generator)
    numbers = [number for number in _numbers(generator, settings) if number >= MOST]
    if settings.samples is not None or not numbers:
        return Profile.of(generator, settings)
    other = replace(settings, samples=max(numbers))
    profile = checked(profile_path(generator, other), generator)
    extents = {f"rates/{name}": Extent(max(numbers)) for name in profile.counts}
    extents |= {f"thresholds/{name}": Extent(max(numbers)) for name in profile.thresholds}
    made = dict(profile.made)
    if "thresholds" in made:
        made["thresholds"] = made["thresholds"].partition(",")[2]
    return replace(profile, settings=settings, extents=extents, made=made)


def partials(path: Path) -> Callable[[object], Partial]:
    """From what numbers depend on to where they are kept while they are measured for the profile in
    a file."""

    def partial(depends_on: object) -> Partial:
        digest = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:16]
        return Partial(path.with_suffix(f".{digest}{_MEASURING}"))

    return partial


def _numbers(generator: Generator, settings: Settings) -> list[int]:
    """The given numbers of latents of which the store has profiles with otherwise these settings,
    beside them."""
    prefix, _, rest = profile_path(generator, replace(settings, samples=0)).name.partition("-n0-")
    files = profile_path(generator, settings).parent.glob(f"{prefix}-n*-{rest}")
    numbers = (file.name.removeprefix(f"{prefix}-n").partition("-")[0] for file in files)
    return sorted({int(number) for number in numbers if number.isdecimal()} - {settings.samples})


def on_device(generator: Generator, device: torch.device | str | None) -> Generator:
    """The generator itself if it is on a device already, or None is named, or else a copy there."""
    if device is None or torch.device(device) == generator.device:
        return generator
    return replace(generator, G=copy.deepcopy(generator.G).to(device))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a store file, after making sure that it will be possible to write it."""
    with _writable(path):
        lock = FileLock(f"{path}.lock")
        try:
            acquired = lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process that measures the same generator")
            acquired = lock.acquire()
    with acquired:
        yield


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Make sure that a store file can be written; errors in here say that it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(13, why_not(path.parent))
        yield
    except OSError as error:
        raise GanfixError(
            f"cannot write the profile to {path.parent}: {error.strerror or error}; "
            "set GANFIX_CACHE to a folder that can be written"
        ) from None
