"""Builders for every model here; scripts and runners get their networks from nowhere else."""

from __future__ import annotations

from typing import Any

from torch import nn

from .model_zoo import MODEL_ZOO
from .pggan_discriminator import PGGANDiscriminator
from .pggan_generator import PGGANGenerator

__all__ = [
    "MODEL_ZOO",
    "PGGANDiscriminator",
    "PGGANGenerator",
    "build_discriminator",
    "build_generator",
    "build_model",
]

GENERATORS = {"pggan": PGGANGenerator}
DISCRIMINATORS = {"pggan": PGGANDiscriminator}


def build_generator(gan_type: str, resolution: int, **kwargs: Any) -> PGGANGenerator:
    """An untrained generator, `kwargs` to its class. ValueError for an unknown `gan_type`."""
    return _choose(GENERATORS, "GAN type", gan_type)(resolution, **kwargs)


def build_discriminator(gan_type: str, resolution: int, **kwargs: Any) -> PGGANDiscriminator:
    """An untrained discriminator, `kwargs` to its class. ValueError for an unknown `gan_type`."""
    return _choose(DISCRIMINATORS, "GAN type", gan_type)(resolution, **kwargs)


def build_model(gan_type: str, module: str, resolution: int, **kwargs: Any) -> nn.Module:
    """A 'generator' or a 'discriminator'. ValueError for any other `module`."""
    # A table made per call finds the builders by their current names, so that one of them can be
    # replaced in this package and every runner follows.
    builders = {"generator": build_generator, "discriminator": build_discriminator}
    return _choose(builders, "module", module)(gan_type, resolution, **kwargs)


def _choose(table: dict[str, Any], what: str, name: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; available: {', '.join(table)}")
    return table[name]
