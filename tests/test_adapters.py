"""Which generators are recognised, and where their numbered layers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gan_face_generate.models import Discriminator
from generators import (
    BigGANShaped,
    EarlierGenerator,
    MoreConvolutions,
    Noisy,
    RosinalityShaped,
    StyleGAN2Generator,
    StyleGAN2TorchShaped,
    StyleGAN3Shaped,
    StyleGANGenerator,
    dcgan,
    hooks,
    images,
    latents,
    numbered,
    recorded,
)
from torch import Tensor, nn
from torch.nn import functional as F

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.generators.find import unwrap
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.genforce import StyleGAN2 as GenforceStyleGAN2
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.generators.nvidia import StyleGAN2 as NvidiaStyleGAN2
from ganfix_plugin.generators.nvidia import unfused
from ganfix_plugin.generators.rosinality import Rosinality
from ganfix_plugin.hooks.layer import Layer

OTHER_FAMILIES = [
    StyleGAN2Generator,
    StyleGANGenerator,
    EarlierGenerator,
    MoreConvolutions,
    StyleGAN3Shaped,
    dcgan,
]


def chosen(G: nn.Module, text: str) -> list[int]:
    return [layer.index for layer in Generator.of(G).choose(text)]


def table(G: nn.Module) -> list[tuple[int, str, tuple[int, int]]]:
    return [(layer.index, layer.name, layer.resolution) for layer in numbered(G)]


def test_stylegan2_has_one_layer_at_4x4_and_two_per_resolution(stylegan2: nn.Module) -> None:
    assert Generator.of(stylegan2).adapter.name == "nvidia-stylegan2"
    assert table(stylegan2) == [
        (0, "synthesis.b4.conv1", (4, 4)),
        (1, "synthesis.b8.conv0", (8, 8)),
        (2, "synthesis.b8.conv1", (8, 8)),
        (3, "synthesis.b16.conv0", (16, 16)),
        (4, "synthesis.b16.conv1", (16, 16)),
        (5, "synthesis.b32.conv0", (32, 32)),
        (6, "synthesis.b32.conv1", (32, 32)),
    ]


def test_pggan_has_two_layers_per_resolution(pggan: nn.Module) -> None:
    assert Generator.of(pggan).adapter.name == "genforce-pggan"
    sizes = (4, 4, 8, 8, 16, 16, 32, 32)
    assert table(pggan) == [(i, f"layer{i}", (size, size)) for i, size in enumerate(sizes)]


def test_the_layers_of_a_dcgan_are_its_relus(face: nn.Module) -> None:
    assert Generator.of(face).adapter.name == "dcgan"
    sizes = {"main.2": 4, "main.5": 8, "main.8": 16, "main.11": 32}
    assert table(face) == [(i, name, (n, n)) for i, (name, n) in enumerate(sizes.items())]


def test_genforce_stylegan2_is_numbered_as_stylegan2() -> None:
    G = StyleGAN2Generator()
    assert Generator.of(G).adapter.name == "genforce-stylegan2"
    sizes = (4, 8, 8, 16, 16)
    assert table(G) == [(i, f"synthesis.layer{i}", (n, n)) for i, n in enumerate(sizes)]


def test_genforce_stylegan_is_read_before_its_instance_norm() -> None:
    G = StyleGANGenerator()
    assert Generator.of(G).adapter.name == "genforce-stylegan"
    sizes = (4, 4, 8, 8, 16, 16)
    assert table(G) == [(i, f"synthesis.layer{i}.activate", (n, n)) for i, n in enumerate(sizes)]


def test_a_stylegan_is_recognised_by_its_layers_whatever_its_class_is_called() -> None:
    G = EarlierGenerator()
    assert Generator.of(G).adapter.name == "genforce-stylegan"
    sizes = (4, 4, 8, 8, 16, 16)
    layers = [(i, f"synthesis.layer{i}.epilogue.activate", (n, n)) for i, n in enumerate(sizes)]
    assert table(G) == layers


def test_blocks_may_have_any_number_of_modulated_convolutions_and_start_at_8x8() -> None:
    G = MoreConvolutions()
    assert Generator.of(G).adapter.name == "nvidia-stylegan2"
    names = ["b8.convs1.0", "b8.convs1.1", "b16.conv0", "b16.convs1.0", "b16.convs1.1"]
    sizes = (8, 8, 16, 16, 16)
    pairs = enumerate(zip(names, sizes))
    assert table(G) == [(i, f"synthesis.{name}", (n, n)) for i, (name, n) in pairs]
    assert chosen(G, "auto") == [0, 2]


def test_stylegan3_leaves_its_last_layer_out_and_gives_height_before_width() -> None:
    G = StyleGAN3Shaped()
    assert Generator.of(G).adapter.name == "nvidia-stylegan3"
    names = ["L0_12_6", "L1_12_6", "L2_12_5", "L3_12_5"]
    assert table(G) == [(i, f"synthesis.{name}", (10, 12)) for i, name in enumerate(names)]


@pytest.mark.parametrize("build", OTHER_FAMILIES)
def test_layers_have_the_shapes_of_their_feature_maps(build: type[nn.Module]) -> None:
    check_shapes(build())


def test_layers_of_trained_generators_have_the_shapes_of_their_feature_maps(G: nn.Module) -> None:
    check_shapes(G)


def check_shapes(G: nn.Module) -> None:
    layers = numbered(G)
    with recorded(G, layers) as found:
        images(G, latents(G, 2))
    shapes = {name: tuple(x.shape) for name, x in found.items()}
    assert shapes == {each.name: (2, each.channels, *each.resolution) for each in layers}


@pytest.mark.parametrize("build", OTHER_FAMILIES)
def test_every_family_can_be_corrected(build: type[nn.Module]) -> None:
    G = build()
    z = latents(G, 3)
    before = images(G, z)
    with attach(G, "random:portion=60%") as attachment:
        assert not torch.equal(images(G, z), before)
        attachment.check()
    assert torch.equal(images(G, z), before)


def test_auto_takes_the_papers_layers(stylegan2: nn.Module, pggan: nn.Module) -> None:
    assert chosen(stylegan2, "auto") == [0, 1, 3]
    assert chosen(pggan, "auto") == [1, 3, 5]
    assert chosen(StyleGAN2Generator(), "auto") == [0, 1, 3]
    assert chosen(StyleGANGenerator(), "auto") == [1, 3, 5]


def test_auto_takes_the_first_three_where_the_papers_say_nothing(face: nn.Module) -> None:
    assert chosen(face, "auto") == [0, 1, 2]
    assert chosen(StyleGAN3Shaped(), "auto") == [0, 1, 2]


def test_a_resolution_means_the_layer_of_the_papers_list(
    stylegan2: nn.Module, pggan: nn.Module, face: nn.Module
) -> None:
    assert chosen(stylegan2, "4x4+8x8") == [0, 1]
    assert chosen(pggan, "4x4+8x8") == [1, 3]
    assert chosen(face, "4x4+8x8") == [0, 1]


def test_layers_come_in_the_order_in_which_they_run_and_once(stylegan2: nn.Module) -> None:
    assert chosen(stylegan2, "3+0+8x8+0+1") == [0, 1, 3]


@pytest.mark.parametrize("text", ["7", "64x64"])
def test_a_layer_that_is_not_there_lists_those_that_are(stylegan2: nn.Module, text: str) -> None:
    with pytest.raises(GanfixError, match=rf"no layer {text}; there are 0 \(4x4\), 1 \(8x8\), 2"):
        chosen(stylegan2, text)


def test_a_class_in_a_generated_module_is_recognised(stylegan2: nn.Module) -> None:
    assert type(stylegan2).forward.__module__.startswith("_imported_module_")
    assert Generator.of(stylegan2).adapter.name == "nvidia-stylegan2"


def test_parallel_wrappers_are_taken_off(face: nn.Module) -> None:
    wrapped = nn.DataParallel(face)
    assert unwrap(wrapped) is face
    with attach(wrapped, "random"):
        assert hooks(face)


def test_a_named_adapter_is_taken_if_it_fits(face: nn.Module) -> None:
    assert Generator.of(face, "dcgan").adapter.name == "dcgan"
    with pytest.raises(GanfixError, match=r"adapter genforce-pggan does not fit"):
        Generator.of(face, "genforce-pggan")
    with pytest.raises(GanfixError, match="unknown adapter; available: biggan, dcgan"):
        Generator.of(face, "vae")


def autoencoder() -> nn.Module:
    up = nn.ConvTranspose2d(8, 3, 4, stride=2)
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=2), nn.ReLU(), up).eval()


NO_GENERATORS = {
    "linear": lambda: nn.Linear(3, 3),
    "perceptron": lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)),
    "classifier": lambda: nn.Sequential(nn.Conv2d(3, 8, 4), nn.ReLU(), nn.Flatten()),
    "autoencoder": autoencoder,
    "DCGAN's discriminator": lambda: Discriminator(ngpu=0, nc=3, ndf=8),
}


@pytest.mark.parametrize("build", NO_GENERATORS.values(), ids=NO_GENERATORS)
def test_other_networks_are_refused_with_their_modules(build: type[nn.Module]) -> None:
    G = build().eval()
    with pytest.raises(
        GanfixError, match="no generator that an adapter knows.*; its modules: "
    ) as e:
        attach(G, "none")
    assert "\n" not in str(e.value)
    assert all(name in str(e.value) for name, _ in list(G.named_modules())[1:12])


class EncodesFirst(nn.Module):
    """An image to its like, by a generator inside."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1))
        self.decoder = dcgan()
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.encoder(image))
        return images


def test_what_takes_images_is_refused_with_the_generator_inside_it() -> None:
    G = EncodesFirst()
    with pytest.raises(GanfixError, match="decoder inside it looks like one: take that"):
        attach(G, "none")
    with pytest.raises(GanfixError, match="decoder inside it looks like one: take that"):
        attach(G, "none", example=lambda: G(torch.zeros(2, 3, 8, 8)))
    attach(G.decoder, "none").detach()


def test_discriminators_are_refused(stylegan2: nn.Module, network_pickle: Path) -> None:
    import legacy

    with network_pickle.open("rb") as file:
        D = legacy.load_network_pkl(file)["D"].eval()
    assert D.block_resolutions  # the attribute that its generator is recognised by, one level up
    with pytest.raises(GanfixError, match="Discriminator is no generator"):
        attach(D, "none")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tracing, by newer PyTorch
def test_a_traced_network_is_refused(face: nn.Module) -> None:
    traced = torch.jit.trace(face, latents(face, 1))
    with pytest.raises(GanfixError, match="no generator that an adapter knows"):
        attach(traced, "random")


@pytest.mark.parametrize("found", [None, "G.pkl", {"G_ema": 1}])
def test_what_is_no_module_is_refused_by_type(found: object) -> None:
    with pytest.raises(
        GanfixError, match=rf"expected a generator .*, found {type(found).__name__}"
    ):
        attach(found, "none")


def test_any_module_works_by_layer_names_numbered_as_they_run() -> None:
    G = Noisy()
    layers = Generator.of(G, layers=["second", "first"]).layers
    assert [(layer.index, layer.name) for layer in layers] == [(0, "first"), (1, "second")]
    assert [(layer.channels, layer.resolution) for layer in layers] == [(12, (4, 4)), (8, (8, 8))]
    assert Generator.of(G, layers=["second", "first"]).auto == layers


def test_a_module_name_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(
        GanfixError, match="third is no module of Noisy; its modules: first, second"
    ):
        attach(Noisy(), "random", layers=["third"])


def test_a_module_that_returns_no_feature_map_is_refused() -> None:
    G = nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (4, 1, 1)), nn.ConvTranspose2d(4, 3, 4))
    with pytest.raises(GanfixError, match=r"0 returns a tensor \[\d+, 4\], expected a feature map"):
        attach(G.eval(), "random", layers=["0"])


class OfClass(nn.Module):
    """Wants the number of a class, which it looks up."""

    def __init__(self) -> None:
        super().__init__()
        self.n_classes = 3
        self.first = nn.Linear(8, 6 * 4 * 4)
        self.lookup = nn.Embedding(3, 8)
        self.convs = nn.Sequential(
            nn.Conv2d(6, 5, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(5, 3, 1)
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        images: Tensor = self.convs(self.first(z + self.lookup(labels)).view(-1, 6, 4, 4))
        return images


def test_a_generator_that_takes_numbers_of_classes_is_called_with_each_of_them() -> None:
    generator = Generator.of(OfClass().eval())
    assert generator.adapter.name == "traced" and generator.replay
    assert set(generator.replay.steps[0].call[1]["labels"].tolist()) == {0, 1, 2}


def test_a_module_that_cannot_be_called_on_a_latent_is_refused_in_one_line() -> None:
    G = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 3, 4)).eval()
    with pytest.raises(GanfixError, match="does not fit: RuntimeError: Expected 3D") as error:
        attach(G, "random", layers=["1"])
    assert "\n" not in str(error.value)


def test_looking_for_layers_draws_nothing_from_the_random_stream() -> None:
    G = Noisy()
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    attach(G, "none", layers=["second"])
    assert torch.equal(torch.randn(3), expected)


def test_a_feature_map_is_exchanged_without_the_rest_of_a_tuple() -> None:
    layer = Layer(0, "layer0", (4, 4), 2, item=0)
    x, y, style = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4), object()
    assert layer.read((x, style)) is x
    assert layer.write((x, style), y) == (y, style)


def drawn(size: int, **options: int) -> tuple[Tensor, Tensor]:
    batches = list(Latents((5,), **options).batches(20, size, torch.device("cpu")))
    labels = [torch.zeros(len(z), 0) if c is None else c for z, c in batches]
    return torch.cat([z for z, _ in batches]), torch.cat(labels)


@pytest.mark.parametrize("size", [1, 7, 20, 64])
def test_latents_and_labels_do_not_depend_on_the_batch_size(size: int) -> None:
    for found, expected in zip(drawn(size, seed=3, classes=4), drawn(6, seed=3, classes=4)):
        assert torch.equal(found, expected)


def test_latents_differ_by_seed_and_labels_cover_the_classes() -> None:
    z, c = drawn(20, seed=0, classes=4)
    assert not torch.equal(z, drawn(20, seed=1, classes=4)[0])
    assert c.shape == (20, 4) and torch.equal(c.sum(1), torch.ones(20)) and c.any(0).all()


def test_one_class_can_be_taken_with_the_same_latents() -> None:
    z, c = drawn(20, seed=0, classes=4, class_index=2)
    assert torch.equal(z, drawn(20, seed=0, classes=4)[0])
    assert c.argmax(1).unique().tolist() == [2]


@pytest.mark.parametrize("demodulate", [True, False])
def test_theunfused_convolution_of_stylegan3_is_the_fused_one(demodulate: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*shape, generator=chance) for shape in ((3, 4, 5, 5), (6, 4, 3, 3)))
    s, gain = (torch.randn(*shape, generator=chance) for shape in ((3, 4), (4,)))
    if demodulate:
        unit = w / w.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        s = s / s.square().mean(dim=1, keepdim=True).sqrt()
    kernels = (unit if demodulate else w) * s[:, None, :, None, None]
    if demodulate:
        kernels = kernels / kernels.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()
    kernels = kernels * gain[:, None, None]
    expected = [nn.functional.conv2d(x[i : i + 1], kernels[i], padding=1) for i in range(3)]
    found = unfused(x, w, s, demodulate, 1, gain)
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "build", [*OTHER_FAMILIES, StyleGAN2TorchShaped, RosinalityShaped, BigGANShaped]
)
def test_a_quick_pass_shows_the_same_feature_maps_but_for_rounding(build: Any) -> None:
    _quick_is_exact(build().eval())


def test_a_quick_pass_of_a_network_pickle_and_of_a_pggan_too(G: nn.Module) -> None:
    _quick_is_exact(G)


def _quick_is_exact(G: nn.Module) -> None:
    generator = Generator.of(G)
    (z, c), *_ = Latents.of(generator).batches(3, 3, generator.device)
    kept: list[dict[str, Tensor]] = []
    for exact in (True, False):
        seen: dict[str, Tensor] = {}
        measured = generator.measured_exactly(exact)
        measured.observe(generator.layers, z, c, lambda layer, x: seen.__setitem__(layer.name, x))
        kept.append(seen)
    exact, quickly = kept
    assert exact.keys() == quickly.keys() == {layer.name for layer in generator.layers}
    assert all(torch.allclose(exact[name], quickly[name], atol=1e-4) for name in exact)


def _profiled(function: Any) -> Any:
    """As NVIDIA's code wraps functions, by which they lose their signature."""

    def decorator(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorator


def _reference(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    demodulate: bool = True,
    fused_modconv: bool = True,
) -> Tensor:
    """StyleGAN2's modulated convolution, sample by sample, as its paper has it."""
    kernels = weight * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels / (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    maps = [nn.functional.conv2d(x[i : i + 1], kernels[i], padding=1) for i in range(len(x))]
    return torch.cat(maps) if noise is None else torch.cat(maps) + noise


modulated_conv2d = _profiled(_reference)


class NvidiaShaped(nn.Module):
    """A layer as NVIDIA's: it calls the convolution of its module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.noise = nn.Parameter(torch.randn(6, 4, 3, 3)), torch.randn(5, 5)

    def forward(self, x: Tensor, styles: Tensor, fused_modconv: bool = True) -> Tensor:
        how = {"noise": self.noise, "fused_modconv": fused_modconv}
        return modulated_conv2d(x=x, weight=self.weight, styles=styles, **how)


def test_stylegan2_is_measured_without_kernels_of_each_samples_own() -> None:
    torch.manual_seed(0)
    layer, x, styles = NvidiaShaped(), torch.randn(3, 4, 5, 5), torch.randn(3, 4)
    expected = layer(x, styles)
    unfused = NvidiaStyleGAN2().unfuse(layer)
    assert unfused["fused_modconv"] is False and "forward" in vars(layer)
    torch.testing.assert_close(layer(x, styles, fused_modconv=False), expected)


class RosinalityConvolution(nn.Module):
    """A modulated convolution with rosinality's attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(1, 6, 4, 3, 3)), 0.3
        self.modulation, self.demodulate, self.fused = nn.Linear(5, 4), True, True

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        styles = self.modulation(style)
        return _reference(input, self.scale * self.weight[0], styles, None, self.demodulate)


class GenforceBlock(nn.Module):
    """A convolutional block with genforce's attributes, all samples' kernels in one convolution."""

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.weight, self.wscale = nn.Parameter(torch.randn(6, 4, 3, 3)), 0.3
        self.style, self.demodulate, self.fused_modulate = nn.Linear(5, 4), True, True
        self.use_conv2d_transpose, self.stride, self.padding = up, 1 + up, int(not up)
        self.filter = nn.AvgPool2d(2, 1)
        self.add_noise, self.noise_strength = True, nn.Parameter(torch.tensor(0.5))
        self.register_buffer("noise", torch.randn(1, 1, *2 * [10 if up else 5]))
        self.bias, self.bscale = nn.Parameter(torch.randn(6)), 0.7
        self.activate, self.activate_scale = nn.LeakyReLU(0.2, inplace=True), 2**0.5

    def forward(self, x: Tensor, w: Tensor, randomize_noise: bool = False) -> tuple[Tensor, Tensor]:
        n, style = x.shape[0], self.style(w)
        weight = self.weight * self.wscale * style.view(n, 1, 4, 1, 1)
        weight = weight / torch.sqrt(torch.sum(weight**2, dim=(2, 3, 4)) + 1e-8).view(n, 6, 1, 1, 1)
        x = x.view(1, n * 4, 5, 5)
        if self.use_conv2d_transpose:
            weight = weight.flip(3, 4).permute(0, 2, 1, 3, 4).reshape(n * 4, 6, 3, 3)
            x = F.conv_transpose2d(x, weight, None, self.stride, self.padding, 0, n)
            x = self.filter(x.view(n, 6, 11, 11))
        else:
            weight = weight.reshape(n * 6, 4, 3, 3)
            x = F.conv2d(x, weight, None, self.stride, self.padding, 1, n).view(n, 6, 5, 5)
        x = x + self.noise * self.noise_strength
        x = x + (self.bias * self.bscale).view(1, 6, 1, 1)
        return self.activate(x) * self.activate_scale, style


@pytest.mark.parametrize("up", [False, True])
def test_genforces_blocks_are_measured_without_kernels_of_each_samples_own(up: bool) -> None:
    torch.manual_seed(0)
    block, x, w = GenforceBlock(up), torch.randn(3, 4, 5, 5), torch.randn(3, 5)
    expected = block(x, w)
    GenforceStyleGAN2().unfuse(block)
    assert "forward" in vars(block) and not block.fused_modulate
    torch.testing.assert_close(block(x, w), expected)


def test_rosinalitys_convolutions_are_measured_without_kernels_of_each_samples_own() -> None:
    torch.manual_seed(0)
    convolution, x, w = RosinalityConvolution(), torch.randn(3, 4, 5, 5), torch.randn(3, 5)
    expected = convolution(x, w)
    Rosinality().unfuse(convolution)
    assert not convolution.demodulate and not convolution.fused
    torch.testing.assert_close(convolution(x, w), expected)
