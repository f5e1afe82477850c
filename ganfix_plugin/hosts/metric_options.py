"""What ganfix's own metrics, and the hosts' with another detector, take on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganfix_plugin.artifacts.latent_files import KINDS, check_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.bootstrap import RESAMPLES
from ganfix_plugin.features.detector import HINT, Detector
from ganfix_plugin.hosts.flags import Flag

NUM_GEN = 50_000  # as many as the hosts' own metrics generate

DETECTOR = Flag(
    "--detector",
    "FILE",
    "inception.pt",
    f"Where the script's own feature detector cannot be downloaded: {HINT}. It is called with "
    "images [N,3,H,W], uint8, and returns features [N,D].",
)
LATENTS = Flag(
    "--latents",
    "FILE",
    "labels.csv",
    f"For --metrics=fid_artifacts,pr_artifacts,realism_artifacts: {KINDS}. With --correct both "
    "sides are measured on the same latents and noise.",
)
NUM_GENERATED = Flag(
    "--num-gen",
    "N",
    "5000",
    "For --metrics=fid,pr,realism: measure seeds 0 to N−1, with --correct on both sides  "
    f"[default: {NUM_GEN}]; of --latents: at most the first N  [default: all]",
)
NUM_REAL = Flag(
    "--num-real",
    "N",
    "10000",
    "Of the data set, take N images chosen at random, for all metrics of ganfix  [default: all]",
)
INTERVAL = Flag(
    "--resamples",
    "N",
    "200",
    f"Bootstrap resamples for the interval of a difference, 0 for none  [default: {RESAMPLES}]",
)
FLAGS = (DETECTOR, LATENTS, NUM_GENERATED, NUM_REAL, INTERVAL)


@dataclass(frozen=True)
class MetricOptions:
    """What the metrics of a run work with; it goes along to spawned processes.

    Attributes:
        detector: instead of the host's, everywhere.
        latents: of the metrics of given latents.
        num_gen: how many to generate.
        num_real: how many real images to compare with.
        resamples: of the bootstrap.
    """

    detector: Detector | None = None
    latents: str = ""
    num_gen: int | None = None
    num_real: int | None = None
    resamples: int = RESAMPLES

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> MetricOptions:
        """From the values of `FLAGS`, by the flag's name.

        Raises:
            GanfixError: on a number that is none, or a detector or latents that are not there.
        """
        source, latents = values.get(DETECTOR.name), values.get(LATENTS.name, "")
        if latents:
            check_latents(latents)
        resamples = _whole(INTERVAL, values, 0)
        return cls(
            Detector.named(source) if source else None,
            latents,
            _whole(NUM_GENERATED, values, 2),
            _whole(NUM_REAL, values, 2),
            RESAMPLES if resamples is None else resamples,
        )


def _whole(flag: Flag, values: Mapping[str, str], low: int) -> int | None:
    text = values.get(flag.name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < low:
        raise GanfixError(f"{flag.name} {text}: expected a whole number of at least {low}")
    return int(text)
