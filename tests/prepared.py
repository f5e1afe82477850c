"""Generators that are ready for SeqC, in seconds: `prepared:look` in the place of a real extractor.

What counts as an artifact here is a bright image, which random features are enough to see.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.artifacts.prepare import fit_classifier
from ganfix_plugin.cli import main
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.kinds import Kinds, extremes, thumbnails
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import classifier_path, profile_path

SAMPLES = 200
EXTRACTOR = "prepared:look"


def _random_network() -> nn.Module:
    layers = [nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()]
    layers += [nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ReLU()]
    chance = torch.Generator().manual_seed(8)
    network = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in network.parameters():
            bound = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.uniform_(-bound, bound, generator=chance)
    return network


look = _random_network()
load_extractor(EXTRACTOR)  # so that classifiers in the store may name it


def uncorrected(G: nn.Module, seeds: range | list[int]) -> Tensor:
    """The images of seeds, as the hosts' scripts draw their latents."""
    generator = Generator.of(G)
    with torch.no_grad():
        return generator.synthesize(latents_of(seeds, generator.latent_shape), None)


def judged(G: nn.Module, num: int = 80) -> Labels:
    """Labels of seeds 0, 1, …: the brighter half are artifacts."""
    bright = uncorrected(G, range(num)).mean(dim=(1, 2, 3))
    kinds = [ARTIFACT if each else NORMAL for each in bright > bright.median()]
    items = tuple(Label(seed, kind, "test") for seed, kind in enumerate(kinds))
    return Labels(fingerprint(G), items)


def judged_within_kinds(G: nn.Module, num: int) -> Labels:
    """Labels of seeds 0, 1, …: the brighter half of each kind of content are artifacts."""
    pictures = uncorrected(G, range(num))
    kinds = Kinds.among(thumbnails(pictures)).of(thumbnails(pictures))
    _, artifacts = extremes(pictures.mean(dim=(1, 2, 3)), kinds, 0.5, 0.5)
    names = [ARTIFACT if seed in artifacts.tolist() else NORMAL for seed in range(num)]
    return Labels(fingerprint(G), tuple(Label(*item, "test") for item in enumerate(names)))


def prepare(G: nn.Module) -> tuple[Classifier, Profile, Path]:
    """A classifier and unit scores, as `ganfix fit` and `ganfix score` leave them in the store."""
    generator = Generator.of(G)
    head_path = classifier_path(generator.fingerprint)
    path = profile_path(generator, Settings(SAMPLES))
    if not (head_path.exists() and path.exists() and Profile.load(path).defective):
        labels = judged(G)
        head = fit_classifier(generator, labels, extractor=EXTRACTOR)
        head.save(head_path)
        score_units(generator, labels, head, samples=SAMPLES)
    return Classifier.load(head_path), Profile.load(path), path


def run(*arguments: Any) -> Result:
    """`ganfix ARGUMENTS` in this process, whose way of logging and warning stays as it was."""
    log = logging.getLogger("ganfix")
    before = (list(log.handlers), log.level, log.propagate)
    with warnings.catch_warnings():
        show = warnings.showwarning
        try:
            return CliRunner().invoke(main, [str(each) for each in arguments])
        finally:
            warnings.showwarning = show
            log.handlers[:], log.level, log.propagate = before


def error(result: Result) -> str:
    """The one line in which a command failed."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = (each for each in result.stderr.splitlines() if not each.startswith("ganfix: "))
    assert line.startswith("Error: "), result.output
    return line
