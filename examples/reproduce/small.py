"""The small networks of this repository, and what stands for the papers' choices there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_EXAMPLES = Path(__file__).resolve().parents[1]
_FOOTWEAR, _FACES = _EXAMPLES / "footwear", _EXAMPLES / "face_gan"
FACE_LABELS = _FACES / "labels.csv"


@dataclass(frozen=True)
class Small:
    """A small network.

    Attributes:
        network, host: as ``--network`` and ``--host`` take them.
        extractor: whose features distances are of.
        maps: whose feature maps Grad-CAM is of.
        real: real images, a zip, if there are any.
        labels: labels by people, if there are any.
    """

    network: str
    host: Path
    extractor: str
    maps: str
    real: Path | None = None
    labels: Path | None = None


def _footwear(network: str) -> Small:
    real = _EXAMPLES / "stylegan2_small" / "data" / "footwear32_test.zip"
    return Small(network, _FOOTWEAR, "classifier:features", "classifier:maps", real=real)


STYLEGAN2, PGGAN, FACES = "footwear-stylegan2", "footwear-pggan", "face-gan"
SMALL = {
    STYLEGAN2: _footwear("networks:stylegan2"),
    PGGAN: _footwear("networks:pggan"),
    FACES: Small(
        "legacy:generator",
        _FACES,
        "efficientnet-lite0",
        "efficientnet-lite0",
        labels=FACE_LABELS,
    ),
}
