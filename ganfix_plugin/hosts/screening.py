"""``--screen``: leave out the seeds of a script whose images would be the worst, unrendered.

Scripts keep their seeds in one list, which click hands to their function. It is changed in place
when the script's generator has been loaded, so that the script goes on with the seeds that remain
and names its files by them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.artifacts.probes import ProbeChoice, ensure_probe
from ganfix_plugin.correctors.bind import MEASURING, BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import measuring_batch, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_count
from ganfix_plugin.profiling.store import checked, ensure, on_device
from ganfix_plugin.profiling.unit_means import entry_call
from ganfix_plugin.spec import Options, Portion, portion

log = logging.getLogger("ganfix")

LR, PROBE = BY = ("lr", "probe")


@dataclass(frozen=True)
class Screen:
    """Which seeds are not rendered.

    Attributes:
        share: those in the worst share of the generator's own distribution at psi 1.
        by: by their LR count, or by the probe that ``--correct steer`` goes by.
        replace: the seeds that follow the last one take their places, as far as they are good.
        option: the script's option that holds one seed per image.
    """

    share: Portion
    by: str = LR
    replace: bool = False
    option: str = "seeds"

    @classmethod
    def parse(cls, text: str) -> Screen:
        """Parse ``10%``, ``probe:10%``, ``10%:replace`` or ``probe:10%:replace``.

        Raises:
            GanfixError: if it is none of them.
        """
        by, colon, rest = text.partition(":")
        by, rest = (by, rest) if colon and by in BY else (LR, text)
        share, colon, way = rest.partition(":")
        try:
            worst = portion(share)
        except ValueError:
            worst = Portion(0)
        if not 0 < worst < 1 or (colon and way != "replace"):
            raise GanfixError(
                f"--screen {text}: expected the worst share not to render, between 0% and 100%, "
                "such as 10%, or 10%:replace to go on to other seeds in their place; probe:10% "
                "goes by the probe of steer"
            )
        return cls(worst, by, bool(colon))

    def check(self, specs: Sequence[BoundSpec]) -> None:
        """Raise GanfixError if corrections measure otherwise than the first, which it goes by."""
        for first, spec in ((specs[0], spec) for spec in specs[1:]):
            for key in {*MEASURING} & spec.keys:
                name = "class_index" if key == "class" else key
                if getattr(spec.options, name) != getattr(first.options, name):
                    raise GanfixError(
                        f"--screen {self}: goes by what is measured for the first --correct, "
                        f"{first.corrector.name}, and {spec.corrector.name} has another {key}=; "
                        "give both the same"
                    )

    def __str__(self) -> str:
        by = "" if self.by == LR else f"{self.by}:"
        return f"{by}{self.share}{':replace' if self.replace else ''}"

    def apply(
        self, generator: Generator, options: Mapping[str, Any], measuring: Options, device: str
    ) -> int:
        """Screen the seeds among a script's parsed options, in place, and say which went.

        Args:
            options: by the names of the script's function; psi and class are taken into account,
                and a projected w has no seed and is left alone.
            measuring: how to measure the generator, as after ``--correct``.
            device: where to score.

        Returns:
            How many images the script will render, as far as is known.
        """
        seeds = options.get(self.option)
        if options.get("projected_w") is not None:
            log.info("--screen %s: a projected w has no seed; it is rendered", self)
            return 1
        class_index = options.get("class_idx") if generator.classes else None
        if seeds is None or (generator.classes and class_index is None):
            return 1  # the script itself will say what it needs
        psi = options.get("truncation_psi")
        generator = generator.measured_exactly(bool(measuring.exact))
        scorer = _SCORERS[self.by](
            generator, self.share, measuring, device, 1 if psi is None else psi, class_index
        )
        bad = scorer.exceeding(seeds)
        kept = [seed for seed in seeds if seed not in bad]
        gone = len(seeds) - len(kept)
        line = f"{gone} of {len(seeds)} seeds not rendered, their {scorer.name} is over "
        line += f"{scorer.threshold:.4g}, in the worst {self.share}"
        line += f": {', '.join(map(str, sorted(bad)))}" if bad else ""
        log.info("--screen %s: %s", self, line)
        if self.replace and gone:
            instead = scorer.good_after(max(seeds), gone)
            log.info("--screen %s: in their place %s", self, ", ".join(map(str, instead)))
            places = iter(instead)
            kept = [next(places) if seed in bad else seed for seed in seeds]
        seeds[:] = kept
        return len(kept)


@dataclass(frozen=True)
class Scorer:
    """Scores of the images of seeds, as the script would render them, but for random noise.

    Attributes:
        name: of the score, for people.
        score: from what runs a view of the generator on a batch to the scores [n] of the batch.
        layers: that it reads.
        threshold: seeds of a greater score are bad.
        psi: of the truncation.
        class_index: of the images; None for a generator without classes.
    """

    generator: Generator
    name: str
    score: Callable[[Callable[[nn.Module], Any]], Tensor]
    layers: Sequence[Layer]
    threshold: float
    psi: float = 1
    class_index: int | None = None

    @cached_property
    def batch(self) -> int:
        """Seeds per pass."""
        return measuring_batch(self.generator, self.layers)

    def exceeding(self, seeds: Sequence[int]) -> set[int]:
        """The seeds whose score is over the threshold."""
        generator = self.generator

        def call(view: Any, z: Tensor, c: Tensor | None) -> Any:
            generator.unfuse(view)
            if self.psi == 1:
                return generator.synthesize(z, c, view)
            c = z.new_zeros(len(z), 0) if c is None else c
            return view(z, c, noise_mode="const", truncation_psi=self.psi)

        batches = seed_batches(generator, seeds, self.batch, self.class_index)
        scores = (self.score(lambda view: call(view, z, c)) for z, c in batches)
        values = (value for batch in scores for value in batch.tolist())
        return {seed for value, seed in zip(values, seeds) if value > self.threshold}

    def good_after(self, last: int, count: int) -> list[int]:
        """The first seeds after one that are not over the threshold.

        Raises:
            GanfixError: if a thousand in a row are.
        """
        good: list[int] = []
        start = latest = last + 1
        while len(good) < count:
            seeds = range(start, start + max(2 * (count - len(good)), self.batch))
            bad = self.exceeding(seeds)
            good += [seed for seed in seeds if seed not in bad]
            start, latest = seeds.stop, good[-1] if good else latest
            if start - latest > 1000:
                raise GanfixError(
                    f"--screen: all seeds from {latest + 1} to {start - 1} are over the threshold; "
                    "choose a smaller share"
                )
        return good[:count]


def _by_lr(
    generator: Generator, share: Portion, measuring: Options, device: str, *script: Any
) -> Scorer:
    layers, settings = generator.auto, _settings(measuring)
    profile: Profile
    if measuring.profile is not None:
        profile = checked(Path(measuring.profile), generator)
    else:
        profile, _ = ensure(generator, settings, layers, layers, measure_on=device)
    low_rate, threshold = profile.low_rates(layers), profile.score_at(1 - share, layers)
    scored = on_device(generator, device)

    def score(call: Callable[[nn.Module], Any]) -> Tensor:
        return lr_count(scored.G, low_rate, call)

    return Scorer(scored, "LR count", score, layers, threshold, *script)


def _by_probe(
    generator: Generator, share: Portion, measuring: Options, device: str, *script: Any
) -> Scorer:
    choice = getattr(measuring, "probe", ProbeChoice())
    reader, probe, _ = ensure_probe(
        generator, choice, _settings(measuring), profile=measuring.profile, measure_on=device
    )
    threshold = float(probe.threshold(torch.tensor([1 - share])))
    scored = on_device(generator, device)

    def score(call: Callable[[nn.Module], Any]) -> Tensor:
        with torch.no_grad():
            return probe.score(reader.read(*entry_call(scored, call)))

    return Scorer(scored, "score by the probe", score, reader.layers, threshold, *script)


_SCORERS = {LR: _by_lr, PROBE: _by_probe}


def _settings(measuring: Options) -> Settings:
    return Settings(measuring.samples, class_index=measuring.class_index)
