"""The discriminators that come with networks, and D-values ([T21]): what they say of generations.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared import error, run, uncorrected
from safetensors.torch import load_file
from torch import Tensor, nn

from examples import EXAMPLES, importing
from ganfix_plugin import attach
from ganfix_plugin.artifacts.discriminator import d_values
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts import genforce
from ganfix_plugin.hosts.loading import open_network

HOST = EXAMPLES / "pggan_small"
NAME = "pggan_footwear32"
SHAPE = {"resolution": 32, "fmaps_base": 1024, "fmaps_max": 64}


def discriminator(**other: int) -> Any:
    """A PGGAN discriminator, with random weights of its own."""
    with importing("pggan_small"):
        from models import PGGANDiscriminator

        torch.manual_seed(5)
        return PGGANDiscriminator(**{**SHAPE, **other}).eval().requires_grad_(False)


def judged_alone(D: Any, images: Tensor) -> Tensor:
    """What a discriminator says of images one by one."""
    return torch.cat([D(image[None]) for image in images]).flatten()


@pytest.fixture
def checkpoint(pggan: nn.Module, tmp_path: Path) -> Callable[..., Path]:
    """Writes a .pth as genforce's training does, of the networks given."""

    def write(**networks: nn.Module) -> Path:
        path = tmp_path / f"{NAME}.pth"
        weights = {name: network.state_dict() for name, network in networks.items()}
        torch.save({"models": {"generator_smooth": pggan.state_dict(), **weights}}, path)
        return path

    return write


def opened(network: Path | str) -> Any:
    return open_network(str(network), HOST, "cpu")


def test_d_values_are_those_of_the_discriminator_beside_the_weights(pggan: nn.Module) -> None:
    D = discriminator()
    weights = load_file(HOST / "checkpoints" / f"{NAME}_discriminator.safetensors")
    D.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    with opened(NAME) as generator:
        values = d_values(generator, [3, 4, 5])
    expected = judged_alone(D, uncorrected(pggan, [3, 4, 5]))
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_d_values_are_those_of_the_discriminator_in_a_checkpoint(
    pggan: nn.Module, checkpoint: Callable[..., Path]
) -> None:
    D = discriminator()
    with opened(checkpoint(discriminator=D)) as generator:
        values = d_values(generator, [3, 4])
    expected = judged_alone(D, uncorrected(pggan, [3, 4]))
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_of_a_discriminator_that_knows_classes_only_the_logit_counts() -> None:
    D = discriminator(label_size=4)
    images = torch.rand(2, 3, 32, 32)
    assert D(images[:1]).shape == (1, 5)
    logits = genforce.Discriminator(D)(images, torch.eye(4)[:2])
    assert torch.equal(logits, D(images)[:, :1])


def test_its_feature_maps_are_what_enters_the_layer_with_minibatch_statistics() -> None:
    D, images, entered = discriminator(), torch.rand(3, 3, 32, 32), list[Tensor]()
    last = next(layer for name, layer in D.named_children() if getattr(layer, "std_group_size", 0))
    with last.register_forward_pre_hook(lambda module, args: entered.append(args[0])):
        D(images)
    extractor = load_extractor("discriminator", genforce.Discriminator(D))
    assert torch.equal(extractor.maps(images), entered[0])
    assert extractor.features(images).shape == (3, 64)
    assert not torch.equal(D(images)[:1], D(images[:1]))  # the statistics mix the images
    torch.testing.assert_close(extractor.maps(images)[:1], extractor.maps(images[:1]))


def test_a_discriminator_of_other_sizes_is_named_and_not_used(
    checkpoint: Callable[..., Path],
) -> None:
    path = checkpoint(discriminator=discriminator(fmaps_max=32))
    with (
        pytest.warns(GanfixWarning, match="its discriminator is no PGGANDiscriminator of the same"),
        opened(path) as generator,
    ):
        assert generator.discriminator is None


def test_a_checkpoint_without_one_is_told_before_anything_is_measured(
    checkpoint: Callable[..., Path], tmp_path: Path, own_cache: Path
) -> None:
    line = ["--network", checkpoint(), "--host", HOST, "--device=cpu"]
    message = error(run("plot", "d-values", *line, f"--out={tmp_path / 'd.png'}"))
    assert "discriminator: none was opened" in message and "genforce's checkpoints" in message
    assert not own_cache.exists()


class _AtScales(nn.Module):
    """Logits at two scales, of an image in which it changes something at random."""

    def forward(self, image: Tensor, c: Tensor) -> list[Tensor]:
        image = image + torch.randn(())
        return [image.mean(dim=(1, 2, 3))[:, None], image[:, :, 0, :2].flatten(1)]


def test_of_several_logits_the_mean_is_the_d_value(pggan: nn.Module) -> None:
    generator = replace(Generator.of(pggan), discriminator=_AtScales())
    images = uncorrected(pggan, range(3))
    chance = torch.randn((), generator=torch.Generator().manual_seed(0))
    logits = torch.cat([images.mean(dim=(1, 2, 3))[:, None], images[:, :, 0, :2].flatten(1)], dim=1)
    torch.testing.assert_close(d_values(generator, range(3)), logits.mean(dim=1) + chance)


class _OfPairs(nn.Module):
    """Takes an image at two resolutions, in a dictionary."""

    def forward(self, images: dict[str, Tensor], c: Tensor) -> Tensor:
        return images.get("large", c) + images["small"]


def test_where_the_discriminator_judges_no_image_steer_takes_the_lr_count_and_says_so(
    pggan: nn.Module, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = replace(Generator.of(pggan), discriminator=_OfPairs())
    with pytest.warns(GanfixWarning, match="fitted on the LR count"):
        attach(generator, "steer:samples=100").detach()
    assert "_OfPairs does not judge an image [1, 3, 32, 32] and a class [1, 0]" in caplog.text
    with pytest.raises(GanfixError, match="_OfPairs does not judge"):
        attach(generator, "steer:samples=100,from=discriminator")


def test_a_probe_of_the_discriminator_asks_for_it_before_it_measures(
    checkpoint: Callable[..., Path], own_cache: Path
) -> None:

    with (
        opened(checkpoint()) as generator,
        pytest.raises(GanfixError, match="discriminator: none was opened"),
    ):
        attach(generator, "steer:from=discriminator")
    assert not list(own_cache.rglob("*.safetensors"))


@pytest.fixture
def in_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The discriminator of a generator in a script of genforce's with these arguments."""
    monkeypatch.chdir(tmp_path)

    def find(G: nn.Module, *arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["synthesize.py", *arguments])
        with importing("pggan_small"), warnings.catch_warnings():
            warnings.simplefilter("error")
            import models  # noqa: F401

            return genforce.HOST.discriminator_of(G)

    return find


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("checkpoints", [NAME, "--num", "2"]),
        ("work", ["config.py", "--checkpoint", f"work/{NAME}.pth"]),
        ("work", ["config.py", f"--checkpoint=work/{NAME}.pth"]),
    ],
    ids=["by the model's name", "by its file", "in one word"],
)
def test_scripts_have_it_from_the_checkpoint_that_they_name(
    where: str,
    arguments: list[str],
    pggan: nn.Module,
    checkpoint: Callable[..., Path],
    in_script: Callable[..., Any],
) -> None:
    D, path = discriminator(), checkpoint(discriminator=discriminator())
    (path.parent / where).mkdir()
    path.rename(path.parent / where / path.name)
    images = torch.rand(3, 3, 32, 32)
    assert torch.equal(in_script(pggan, *arguments)(images, torch.zeros(3, 0)), D(images))


def test_the_checkpoint_of_another_generator_has_none_for_this_one(
    stylegan2: nn.Module, checkpoint: Callable[..., Path], in_script: Callable[..., Any]
) -> None:
    path = checkpoint(discriminator=discriminator())
    assert in_script(stylegan2, f"--checkpoint={path}") is None


def test_a_script_without_a_network_has_none(
    pggan: nn.Module, in_script: Callable[..., Any]
) -> None:
    assert in_script(pggan, "--num=2") is None
