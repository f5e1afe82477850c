"""EfficientNet-Lite0, trained on photographs, as a second feature extractor for footwear.

``--extractor photographs:features`` sees images enlarged to 64×64 only: at the network's own
224×224 an image of 32×32 is nothing but blur, and takes twelve times as long.
"""

from __future__ import annotations

from torch import Tensor

from ganfix_plugin.features.extractors import Extractor, load_extractor

SIDE = 64


def features(images: Tensor) -> Tensor:
    """Features [N, 1280]."""
    network = load_extractor("efficientnet-lite0").to(images.device).network
    return Extractor("photographs", network, SIDE).features(images)
