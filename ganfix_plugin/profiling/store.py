"""Where profiles are kept, each measured exactly once."""

from __future__ import annotations

import copy
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
from ganfix_plugin.generators.latents import BATCH, Latents, check_class, latent_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import count_active, lr_counts
from ganfix_plugin.workers import Tensors, meeting_folder, shared, world

log = logging.getLogger("ganfix")

Share = Callable[[str, Callable[[int, int], Tensors]], list[Tensors]]
"""From the name of a work, and a function of a part's number and how many there are, to the parts;
none if another rank has used them already."""


def profile_path(generator: Generator, settings: Settings) -> Path:
    """The file of a generator's profile: one per fingerprint, adapter and settings."""
    which = f"{generator.fingerprint[:16]}-{generator.adapter.name}"
    which += f"-n{settings.samples}-s{settings.seed}"
    which += "" if settings.class_index is None else f"-class{settings.class_index}"
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
    batch: int = BATCH,
    measure_on: torch.device | str | None = None,
) -> tuple[Profile, Path]:
    """The stored profile of a generator, after measuring what it lacks.

    Ranks that are started together (torchrun) measure a part each, and one of them writes; the
    numbers are those of one process with the same batches.

    Args:
        layers: whose activation rates are needed.
        scored: the layers over which a gate's LR scores are needed, if any are.
        measure_on: measure a copy of the generator on this device; None measures it where it is.
    """
    path = profile_path(generator, settings)

    def stored() -> tuple[Profile, bool]:
        """The profile in the store, and whether it holds everything."""
        profile = _stored(generator, settings, path)
        measured = all(layer.name in profile.counts for layer in (*layers, *scored))
        return profile, measured and (not scored or profile.has_scores(scored))

    def measure(share: Share) -> Profile:
        measured = on_device(generator, measure_on)
        with random_state_kept(measured.G, settings.seed):
            return _measure(measured, profile, layers, scored, batch, share)

    profile, complete = stored()
    if complete:
        return profile, path
    names = [[layer.name for layer in group] for group in (layers, scored)]
    new, folder = None, meeting_folder(path, *names, batch)
    if world() > 1:
        with _writable(path):
            folder.mkdir(parents=True, exist_ok=True)
        new = measure(lambda what, work: shared(folder / what, work, lambda: stored()[1]))
    with _locked(path):
        # Another process may have finished the same work while this one waited.
        profile, complete = stored()
        if not complete:
            new = new or measure(lambda what, work: [work(0, 1)])
            counts = profile.counts | new.counts
            profile = replace(profile, counts=counts, lr_scores=new.lr_scores, scored=new.scored)
            profile.save(path)
            log.info("profile saved to %s", path)
    shutil.rmtree(folder, ignore_errors=True)
    return profile, path


def checked(path: Path, fingerprint: str) -> Profile:
    """Load a profile and refuse one of another generator."""
    profile = Profile.load(path)
    if profile.fingerprint != fingerprint:
        raise GanfixError(
            f"profile {path}: is of another generator (fingerprint {profile.fingerprint[:16]}, "
            f"this one has {fingerprint[:16]}); measure this one by ganfix profile"
        )
    return profile


def _stored(generator: Generator, settings: Settings, path: Path) -> Profile:
    """The profile in a file of the store, or one that holds nothing yet."""
    # os.path.exists, because Path.exists raises where a folder may not be looked into.
    if os.path.exists(path):
        return checked(path, generator.fingerprint)
    return Profile.of(generator, settings)


def _measure(
    generator: Generator,
    profile: Profile,
    layers: Sequence[Layer],
    scored: Sequence[Layer],
    batch: int,
    share: Share,
) -> Profile:
    """The profile with what it lacks; or without it, if another rank was done before."""
    settings = profile.settings
    if settings.samples < 1:
        raise GanfixError(f"samples={settings.samples}: expected at least 1")
    check_class(generator, settings.class_index, needed=False)
    latents = Latents.of(generator, settings.seed, settings.class_index)

    needed = dict.fromkeys((*layers, *scored))
    missing = [layer for layer in needed if layer.name not in profile.counts]
    if missing:
        numbers = "+".join(str(layer.index) for layer in missing)
        log.info("measuring activation rates: %d latents, layers %s", settings.samples, numbers)

        def count(i: int, n: int) -> Tensors:
            return count_active(generator, missing, latents, settings.samples, batch, (i, n))

        parts = share("rates", count)
        if not parts:
            return profile
        counts = profile.counts.copy()
        for layer in missing:
            of_parts = torch.stack([part[layer.name] for part in parts if part])
            counts[layer.name] = of_parts.sum(dim=0, dtype=torch.int32)
        profile = replace(profile, counts=counts)
    if scored and not profile.has_scores(scored):
        log.info("measuring LR scores: %d latents", settings.samples)
        low_rate = profile.low_rates(scored)
        # Other latents than the counted ones: a neuron is rarer among those that defined it.
        others = replace(latents, seed=settings.seed + 1)

        def score(i: int, n: int) -> Tensors:
            batches = latent_batches(generator, others, settings.samples, batch, "scores", (i, n))
            return {"lr_scores": lr_counts(generator, low_rate, batches)}

        parts = share("scores", score)
        if not parts:
            return profile
        lr_scores = torch.cat([part["lr_scores"] for part in parts]).sort().values
        return replace(profile, lr_scores=lr_scores, scored=tuple(layer.name for layer in scored))
    return profile


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
