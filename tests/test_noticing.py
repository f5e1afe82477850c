"""Generators of every shape are noticed while somebody's code runs them, and corrected."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from generators import Noisy, RosinalityShaped, StyleGAN2Generator, dcgan, hooks
from torch import Tensor, nn

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hosts.generic import NOTHING_SAID, Noticing, Word

SPEC = "seqabl:samples=64,lowest=40%"


class Noticed:
    """What was corrected while code ran."""

    def __init__(self, spec: str, word: Word) -> None:
        self.spec, self.generators = spec, list[Generator]()
        self.attachments = list[Attachment]()
        self.noticing = Noticing(self.correct, word)

    def correct(self, generator: Generator) -> None:
        self.generators.append(generator)
        self.attachments.append(attach(generator, self.spec))
        if self.spec != "none":
            self.noticing.watch(generator, self.spec)

    @property
    def corrected(self) -> list[int]:
        return [attached.counts[0].corrected for attached in self.attachments]


@contextmanager
def noticed(spec: str = SPEC, word: Word = NOTHING_SAID) -> Iterator[Noticed]:
    seen = Noticed(spec, word)
    with seen.noticing.installed(), torch.no_grad():
        yield seen


def z(n: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


class _Up(nn.Module):
    """A block that returns its feature map and an image of it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.to_rgb = nn.Conv2d(outputs, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(nn.functional.interpolate(x, scale_factor=2)).relu()
        return x, self.to_rgb(x)


class Unknown(nn.Module):
    """z [N, 8] and noise [N, 1, 16, 32] to a dictionary; no adapter knows it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(8, 16 * 4 * 8)
        self.blocks = nn.ModuleList([_Up(16, 12), _Up(12, 8)])

    def forward(self, z: Tensor, noise: Tensor) -> dict[str, Tensor]:
        x = self.dense(z).view(-1, 16, 4, 8)
        for block in self.blocks:
            x, image = block(x)
        return {"features": x, "image": image + noise}


def test_maps_of_an_unknown_family_are_layers_by_rising_resolution(own_cache: Any) -> None:
    """Blocks return tuples, the generator a dictionary, its noise must be passed in."""
    with noticed() as seen:
        G = Unknown().eval()
        G(z(6, 8), z(6, 1, 16, 32))
    (generator,) = seen.generators
    assert generator.adapter.name == "traced" and generator.image_item == "image"
    assert [(x.name, x.resolution, x.channels, x.item) for x in generator.layers] == [
        ("blocks.0", (8, 16), 12, 0),
        ("blocks.1", (16, 32), 8, 0),
    ]
    assert seen.corrected == [6]


def test_what_came_with_a_sample_goes_with_the_new_latents(own_cache: Any) -> None:
    with noticed() as seen:
        G = Unknown().eval()
        noise = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 16, 32) * 100
        G(z(6, 8), noise)
    seen.attachments[0].detach()
    images = seen.generators[0].synthesize(z(50, 8, seed=3), None)
    whose = ((images.mean(dim=(1, 2, 3)) / 100).round()).long()
    assert set(whose.tolist()) == set(range(6))
    expected = G(z(50, 8, seed=3), noise[whose])["image"]
    assert torch.equal(images, expected)
    one_by_one = [seen.generators[0].synthesize(x[None], None) for x in z(50, 8, seed=3)]
    torch.testing.assert_close(torch.cat(one_by_one), images)


def test_what_is_kept_from_the_call_makes_another_profile(own_cache: Any) -> None:
    fingerprints = []
    for scale in (1, 2, 2):
        with noticed("none") as seen:
            G = Unknown().eval()
            G(z(6, 8), scale * z(6, 1, 16, 32))
        fingerprints.append(seen.generators[0].fingerprint)
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]


class Slim(nn.Module):
    """z [N, 8] to images [N, 3, 16, 16]; told between calls how many of its units to use."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.used = 16
        self.dense = nn.Linear(8, 16 * 4 * 4)
        self.convs = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)])
        self.acts = nn.ModuleList([nn.ReLU(), nn.ReLU()])
        self.to_rgb = nn.Conv2d(16, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        n, x = self.used, self.dense(z).view(-1, 16, 4, 4)
        for conv, act in zip(self.convs, self.acts):
            x, weight = nn.functional.interpolate(x, scale_factor=2)[:, :n], conv.weight[:n, :n]
            x = act(nn.functional.conv2d(x, weight, conv.bias[:n], padding=1))
        return nn.functional.conv2d(x, self.to_rgb.weight[:, :n], self.to_rgb.bias)


def test_the_same_weights_at_another_width_are_measured_anew(own_cache: Any) -> None:
    fingerprints, corrected = [], []
    for used in (16, 8, 16):
        with noticed() as seen:
            G = Slim().eval()
            G.used = used
            G(z(6, 8))
        fingerprints.append(seen.generators[0].fingerprint)
        corrected += seen.corrected
    assert fingerprints[0] != fingerprints[1] and fingerprints[0] == fingerprints[2]
    assert corrected == [6, 6, 6]


@pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")
@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:50%", "steer:from=lr,samples=200"])
def test_another_width_than_was_measured_is_refused(own_cache: Any, spec: str) -> None:
    with noticed(spec) as seen:
        G = Slim().eval()
        G(z(6, 8))
        G.used, before = 8, seen.corrected
        with pytest.raises(GanfixError, match=r"\[8, 8, 8\], and made \[16, 8, 8\] .* of its own"):
            G(z(6, 8))
    assert seen.corrected == before


class Around(nn.Module):
    """A generator inside something else, which encodes images and renders nothing by itself."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Flatten())
        self.to_latent = nn.Linear(8 * 4 * 4, 6)
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        codes = self.to_latent(self.encoder(images))
        return self.decoder([codes], input_is_latent=True, randomize_noise=False)[0]


def test_a_nested_generator_is_corrected_and_its_encoder_is_not(own_cache: Any) -> None:
    with noticed() as seen:
        net = Around(RosinalityShaped()).eval()
        net(z(5, 3, 16, 16))
    (generator,) = seen.generators
    assert generator.G is net.decoder and generator.adapter.name == "rosinality-stylegan2"
    assert generator.replay is None  # its own latents are measured, not the encoder's
    assert seen.corrected == [5] and not hooks(net.encoder)


class Decoder(RosinalityShaped):
    """Goes on from maps that somebody else rendered."""

    def __init__(self) -> None:
        super().__init__()
        del self.input

    def forward(self, features: Tensor, styles: list[Tensor]) -> Any:  # type: ignore[override]
        x, w = features, self.style(styles[0])
        for conv in (self.conv1, *self.convs):
            x = conv(x, w, None)
        return self.to_rgb(x), None


class Renderer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.render = nn.Linear(6, 6 * 4 * 4)
        self.decoder = Decoder()

    def forward(self, styles: list[Tensor]) -> Any:
        return self.decoder(self.render(styles[0]).view(-1, 6, 4, 4), styles)


def test_a_decoder_of_rendered_maps_is_corrected_with_what_renders_them(own_cache: Any) -> None:
    with noticed() as seen:
        net = Renderer().eval()
        net([z(5, 6)])
    (generator,) = seen.generators
    assert generator.G is net and seen.corrected == [5]
    assert [layer.name for layer in generator.layers] == [
        "decoder.conv1",
        "decoder.convs.1",
        "decoder.convs.3",
    ]


def test_a_network_that_takes_images_is_no_generator(own_cache: Any) -> None:
    with noticed() as seen:
        net = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))
        net.eval()(z(2, 3, 16, 16))
    reason = "(Sequential): none was called that makes images of latents by convolutions"
    assert not seen.generators and f"networks seen {reason}" in seen.noticing.story()


def test_maps_need_not_be_square(own_cache: Any) -> None:
    G = StyleGAN2Generator()
    G.synthesis.const = nn.Parameter(z(1, 6, 4, 8))
    with noticed() as seen:
        G.eval()(z(4, 8))
    (generator,) = seen.generators
    sizes = [(4, 8), (8, 16), (8, 16), (16, 32), (16, 32)]
    assert [layer.resolution for layer in generator.layers] == sizes
    assert [layer.index for layer in generator.auto] == [0, 1, 3]
    assert [layer.index for layer in generator.choose("8x16")] == [1]
    assert seen.corrected == [4]


def test_a_camera_is_no_class(own_cache: Any, build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=5)
    cameras = z(6, 5, seed=2)
    with noticed() as seen:
        G.eval()
        ws = G.mapping(z(6, G.z_dim), cameras)
        G.synthesis(ws, noise_mode="random")
    (generator,) = seen.generators
    assert generator.classes == 0 and seen.corrected == [6]
    seen.attachments[0].detach()
    latent = z(1, G.z_dim, seed=3)
    image = generator.synthesize(latent, None)
    each = [G(latent, camera[None], noise_mode="const") for camera in cameras]
    assert sum(torch.equal(image, other) for other in each) == 1


def test_classes_stay_classes(own_cache: Any, build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=5)
    with noticed() as seen:
        G.eval()(z(3, G.z_dim), torch.eye(5)[:3])
    assert seen.generators[0].classes == 5 and seen.generators[0].replay is None


def test_a_forward_bound_to_an_instance_is_measured_as_it_runs(
    own_cache: Any, stylegan2: Any
) -> None:
    def forward(self: Any, ws: Tensor, **block_kwargs: Any) -> Tensor:
        return type(self).forward(self, ws, **block_kwargs)

    with noticed(f"{SPEC},gate=lr:50%") as seen:
        G = copy.deepcopy(stylegan2).eval()
        G.synthesis.forward = types.MethodType(forward, G.synthesis)
        for block in G.synthesis.children():
            block.forward = types.MethodType(type(block).forward, block)
        ws = G.mapping(z(8, G.z_dim), None)
        G.synthesis(ws, noise_mode="const")
    assert seen.attachments[0].counts[0].samples == 8


@pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")
@pytest.mark.parametrize(
    "spec", ["steer:from=lr,samples=64", "truncation:psi=0.5", f"{SPEC},gate=probe:50%"]
)
def test_styles_in_the_place_of_a_latent_are_refused_where_one_is_needed(
    own_cache: Any, stylegan2: Any, spec: str
) -> None:
    G = copy.deepcopy(stylegan2)
    ws = G.mapping(z(4, G.z_dim), None)

    def forward(self: Any, ws: Any, styles: Any = None, **options: Any) -> Tensor:
        return type(self).forward(self, ws if styles is None else styles, **options)

    G.synthesis.forward = types.MethodType(forward, G.synthesis)
    refused = pytest.raises(GanfixError, match="found nothing in the place of a latent")
    with attach(G, spec), refused:
        G.synthesis(None, styles=ws, noise_mode="const")


WAYS = {
    "G(z)": lambda G: G(z(4, G.z_dim), None, noise_mode="const"),
    "G.synthesis": lambda G: G.synthesis(G.mapping(z(4, G.z_dim), None), noise_mode="const"),
    "its forward": lambda G: G.synthesis.forward(
        G.mapping(z(4, G.z_dim), None), noise_mode="const"
    ),
    "in DataParallel": lambda G: nn.DataParallel(G)(z(4, G.z_dim), None, noise_mode="const"),
    "a copy": lambda G: copy.deepcopy(G)(z(4, G.z_dim), None, noise_mode="const"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:0", "truncation:psi=0.5"])
def test_the_first_call_is_corrected(own_cache: Any, stylegan2: Any, spec: str, way: str) -> None:
    G = copy.deepcopy(stylegan2)
    with torch.no_grad():
        plain = WAYS[way](G)
    with noticed(spec) as seen:
        G.eval()
        first = WAYS[way](G)
        assert torch.equal(first, WAYS[way](G)) and not torch.equal(first, plain)
    assert len(seen.attachments) == (2 if way == "a copy" else 1)


@pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")
def test_an_argument_that_measuring_sets_may_be_given_by_its_place(own_cache: Any) -> None:
    with noticed(f"{SPEC},gate=probe:50%") as seen:
        G = StyleGAN2Generator().eval()
        G.synthesis(G.mapping(z(8, 8)), False)
    assert seen.attachments[0].counts[0].samples == 8


def test_nothing_is_drawn_from_the_random_streams(own_cache: Any) -> None:
    with noticed():
        G = Noisy().eval()
        torch.manual_seed(0)
        G(z(4, 8, 1, 1))
        after = torch.randn(3)
    torch.manual_seed(0)
    with torch.no_grad():
        Noisy()(z(4, 8, 1, 1))  # builds another, which seeds again
    torch.manual_seed(0)
    torch.randn(4, 12, 4, 4)
    assert torch.equal(after, torch.randn(3))


def test_the_users_layers_win_over_the_adapters(own_cache: Any, stylegan2: Any) -> None:
    names = ("synthesis.b8.conv1", "synthesis.b4.conv1")
    with noticed(word=Word(layers=names)) as seen:
        G = copy.deepcopy(stylegan2).eval()
        G(z(3, G.z_dim), None)
    assert [layer.name for layer in seen.generators[0].auto] == sorted(names)
    assert seen.generators[0].adapter.name == "nvidia-stylegan2"


class Named(StyleGAN2Generator):
    """genforce's structure under another name."""


def test_the_users_adapter_is_tried_whatever_the_class_is_called(own_cache: Any) -> None:
    with noticed(word=Word(adapter_name="genforce-stylegan2")) as seen:
        G = Named().eval()
        G(z(3, 8))
    assert seen.generators[0].adapter.name == "genforce-stylegan2"


def test_in_training_mode_it_is_left_alone_which_is_said_at_once_and_is_the_story(
    own_cache: Any, caplog: Any
) -> None:
    with noticed() as seen:
        G = dcgan()
        G.load_state_dict(G.state_dict())
        for _ in range(2):
            G.train()(z(2, 8, 1, 1))
        story = "Sequential ran in training mode: call eval() on it once its weights are loaded"
        assert caplog.messages == [f"left as it is: {story}"]
    del G  # as where it was local to a function that has returned
    assert not seen.generators
    assert seen.noticing.story() == story


class OwnNorm(Unknown):
    """Normalizes by a layer that is not torch's, whose statistics are of the calls in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("var", torch.ones(8))

    def forward(self, z: Tensor, noise: Tensor) -> dict[str, Tensor]:
        z = nn.functional.batch_norm(z, self.mean, self.var, training=self.training)
        return super().forward(z, noise)


def test_a_trial_in_training_mode_adds_nothing_to_statistics(own_cache: Any) -> None:
    latents, noise = z(6, 8), z(6, 1, 16, 32)
    with noticed() as seen:
        G = OwnNorm()
        G.load_state_dict(G.state_dict())
        images = G.train()(latents, noise)["image"]
    expected = OwnNorm()
    assert torch.equal(images, expected(latents, noise)["image"]) and not seen.generators
    assert torch.equal(G.mean, expected.mean) and torch.equal(G.var, expected.var)


def test_weights_that_go_on_changing_in_each_call_stay_the_scripts(own_cache: Any) -> None:
    """A layer under spectral norm that stays in training mode goes on with its power iteration."""

    def built() -> nn.Module:
        G = Unknown().eval()
        nn.utils.spectral_norm(G.blocks[0].conv)
        G.blocks[0].conv.train()
        return G

    latents, noise = z(6, 8), z(6, 1, 16, 32)
    with noticed("none") as seen:
        G = built().eval()
        G.blocks[0].conv.train()
        images = [G(latents, noise)["image"] for _ in range(2)]
    torch.manual_seed(0)
    expected = built()
    assert len(seen.generators) == 1
    assert all(torch.equal(x, expected(latents, noise)["image"]) for x in images)


class OfSeveralSizes(Unknown):
    """Returns the image of each block, the smallest one first."""

    def forward(self, z: Tensor, noise: Tensor) -> Any:  # type: ignore[override]
        x, images = self.dense(z).view(-1, 16, 4, 8), []
        for block in self.blocks:
            x, image = block(x)
            images.append(image)
        return images


def test_of_images_in_several_sizes_the_largest_is_the_generators(own_cache: Any) -> None:
    with noticed() as seen:
        G = OfSeveralSizes().eval()
        G(z(6, 8), z(6, 1, 16, 32))
    assert seen.generators[0].image_item == 1 and seen.corrected == [6]


class Needs(Unknown):
    """Wants its truncation named."""

    def forward(self, z: Tensor, noise: Tensor, truncation: float) -> Any:  # type: ignore[override]
        return super().forward(z * truncation, noise)


def test_truncation_is_left_out_of_measuring_but_where_it_is_needed(own_cache: Any) -> None:
    with noticed() as seen:
        G = Needs().eval()
        G(z(6, 8), z(6, 1, 16, 32), 0.5)
    assert seen.corrected == [6]


class Drawn(Tensor):
    """Knows what it is drawn from, which what is computed of it does not."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self.drawn_from and super().to(*args, **kwargs)


def test_a_call_with_latents_of_the_scripts_own_class_is_made_again(own_cache: Any) -> None:
    latents = z(6, 8).as_subclass(Drawn)
    latents.drawn_from = "normal"
    with noticed() as seen:
        G = Unknown().eval()
        images = G(latents, z(6, 1, 16, 32))["image"]
    assert seen.corrected == [6] and type(images) is Drawn


class _EqualLR:
    """Makes a layer's weight of a parameter, before each call."""

    name = "weight"

    def __init__(self, layer: nn.Module) -> None:
        layer.weight_orig = nn.Parameter(layer._parameters.pop("weight"))  # type: ignore[assignment]
        layer.register_forward_pre_hook(self)

    def __call__(self, layer: Any, args: Any) -> None:
        layer.weight = layer.weight_orig * 2


def test_weights_that_are_computed_before_each_call_are_computed_for_measuring_too(
    own_cache: Any,
) -> None:
    with noticed() as seen:
        G = Unknown()
        for layer in [G.blocks[0].conv, G.blocks[1].conv]:
            _EqualLR(layer)
        G.eval()
        G(z(6, 8), z(6, 1, 16, 32))
    assert seen.corrected == [6]


class Mixing(Unknown):
    """Takes one latent, or a list of latents that it mixes."""

    def forward(self, z: Any, noise: Tensor) -> dict[str, Tensor]:
        return super().forward(sum(z) / len(z) if isinstance(z, list) else z, noise)


MIXED = {
    "truncation": "found list of 2 in the place of a latent",
    "truncation:gate=probe:50%": "found list of 2 in the place of a latent",
    SPEC: "",
}


@pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")
@pytest.mark.parametrize("spec", MIXED)
def test_a_mixture_of_latents_is_refused_where_one_latent_is_needed(
    spec: str, own_cache: Any
) -> None:
    with noticed(spec) as seen:
        G = Mixing().eval()
        G(z(6, 8), z(6, 1, 16, 32))
        before = seen.corrected[0]
        if not MIXED[spec]:
            G([z(6, 8), z(6, 8, seed=2)], z(6, 1, 16, 32))
            assert seen.corrected == [12]
            return
        with pytest.raises(GanfixError, match=MIXED[spec]):
            G([z(6, 8), z(6, 8, seed=2)], z(6, 1, 16, 32))
    assert seen.corrected == [before]


class _Kernels(nn.Module):
    """A convolution of the caller's own class, as many projects have them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, padding=1)


def test_convolutions_may_be_of_any_class(own_cache: Any) -> None:
    with noticed() as seen:
        G = Unknown()
        for block, channels in zip(G.blocks, [(16, 12), (12, 8)]):
            block.conv, block.to_rgb = _Kernels(*channels), _Kernels(channels[1], 3)
        G.eval()
        G(z(6, 8), z(6, 1, 16, 32))
    assert seen.corrected == [6]


def test_latents_that_were_mapped_elsewhere_are_drawn_like_those_seen(own_cache: Any) -> None:
    """As where a mapping network is a network of its own."""
    with noticed() as seen:
        G = Unknown().eval()
        mapped = 3 + z(40, 8) @ z(8, 8, seed=5)
        G(mapped, z(40, 1, 16, 32))
    (generator,) = seen.generators
    assert generator.replay is not None and generator.latent_shape == (40,)
    drawn = generator.replay._alike(z(20000, 40, seed=7))
    torch.testing.assert_close(drawn.mean(0), mapped.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), mapped.T.cov(), atol=0.8, rtol=0)


class Planes(nn.Module):
    """A generator whose own images are made of the planes that another one inside it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = RosinalityShaped()
        self.backbone.to_rgb = nn.Conv2d(6, 12, 1)

    def render(self, z: Tensor) -> Tensor:
        return self.backbone([z], randomize_noise=False)[0].unflatten(1, (4, 3)).sum(dim=1)


def test_what_returns_no_image_is_corrected_where_no_image_is_looked_at(own_cache: Any) -> None:
    with noticed() as seen:
        G = Planes().eval()
        G.render(z(4, 6))
        assert seen.corrected == [4]
    with pytest.raises(GanfixError, match=r"returns a tensor \[.*\], no images; .* use seqabl"):
        attach(G.backbone, "seqc:samples=64")


def test_a_traced_generator_takes_every_kind_of_correction(own_cache: Any) -> None:
    G, latent, noise = Unknown().eval(), z(6, 8), z(6, 1, 16, 32)
    with torch.no_grad():
        plain = G(latent, noise)["image"]
        specs = (f"{SPEC},gate=lr:50%", "truncation:psi=0.5", "steer:from=lr,samples=200")
        for spec in specs:
            with attach(G, spec, example=lambda: G(latent, noise)):
                assert not torch.equal(G(latent, noise)["image"], plain)
        assert torch.equal(G(latent, noise)["image"], plain)


def test_training_is_refused(own_cache: Any) -> None:
    with noticed(), torch.enable_grad(), pytest.raises(GanfixError, match="finished generators"):
        G = dcgan()
        G.load_state_dict(G.state_dict())
        G.train()(z(2, 8, 1, 1))


class MapsFirst(nn.Module):
    """Something else makes latents for a generator inside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(8, 8), inner

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        image: Tensor = self.inner(self.first(z), noise)["image"]
        return image


def test_the_outermost_that_renders_is_corrected_once(own_cache: Any) -> None:
    with noticed() as seen:
        G = MapsFirst(Unknown()).eval()
        G(z(6, 8), z(6, 1, 16, 32))
    assert [generator.G for generator in seen.generators] == [G]
    assert seen.corrected == [6]


def test_each_generator_of_a_script_is_corrected(own_cache: Any) -> None:
    with noticed() as seen:
        known, unknown = StyleGAN2Generator().eval(), Unknown().eval()
        known(z(3, 8))
        unknown(z(5, 8), z(5, 1, 16, 32))
    assert seen.corrected == [3, 5]


class Prompted(Unknown):
    """Takes a text for each sample; without one it cannot be called."""

    def forward(self, z: Tensor, prompts: list[str]) -> dict[str, Tensor]:
        said = torch.tensor([100.0 * len(prompt) for prompt in prompts])
        return super().forward(z, said[:, None, None, None].expand(-1, 1, 16, 32))


def test_a_prompt_goes_with_a_new_latent(own_cache: Any) -> None:
    fingerprints = []
    for prompts in (["", "a", "bcd"], ["", "x", "yzw"]):
        with noticed("none") as seen:
            Prompted().eval()(z(3, 8), prompts)
        (generator,) = seen.generators
        means = generator.synthesize(z(30, 8, seed=3), None).mean(dim=(1, 2, 3)) / 100
        assert set(means.round().tolist()) == {0, 1, 3}
        fingerprints.append(generator.fingerprint)
    assert fingerprints[0] != fingerprints[1]


def test_a_script_that_never_calls_eval_is_corrected_where_that_changes_nothing(
    own_cache: Any,
) -> None:
    with noticed() as seen:
        G = RosinalityShaped().train()
        G.load_state_dict(G.state_dict())
        G([z(4, 6)])
    assert seen.corrected == [4]


class Wrapper(nn.Module):
    """Calls nothing but forwards: its own, and that of a generator that needs all arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Truncated()

    def forward(self, z: Tensor) -> Tensor:
        image: Tensor = self.model.forward(z, 0.5)
        return image

    def sample(self, z: Tensor) -> Tensor:
        return self.forward(z)


class Truncated(Noisy):
    def forward(self, z: Tensor, truncation: float) -> Tensor:  # type: ignore[override]
        return super().forward(z * truncation)


@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:0"])
def test_forwards_that_are_called_by_themselves_are_corrected(own_cache: Any, spec: str) -> None:
    def image(net: Wrapper) -> Tensor:
        torch.manual_seed(0)
        return net.sample(z(5, 8, 1, 1))

    with torch.no_grad():
        plain = image(Wrapper())
    before = Wrapper.forward, Truncated.forward
    with noticed(spec) as seen:
        net = Wrapper().eval()
        corrected = image(net)
    assert not torch.equal(corrected, plain)
    assert [attachment.counts[0].samples for attachment in seen.attachments] == [5]
    assert (Wrapper.forward, Truncated.forward) == before


def test_a_forward_that_passes_by_the_scripts_hooks_still_does(own_cache: Any) -> None:
    calls = []
    with noticed("none"):
        net = Wrapper().eval()
        net.register_forward_hook(lambda *call: calls.append(call))
        net.sample(z(5, 8, 1, 1))
    assert not calls


def test_where_a_latent_is_optimized_a_generator_that_never_left_training_mode_is_corrected(
    own_cache: Any,
) -> None:
    with noticed() as seen, torch.enable_grad():
        G = RosinalityShaped().train()
        G.load_state_dict(G.state_dict())
        latent = z(4, 6).requires_grad_()
        optimizer = torch.optim.Adam([latent])
        G([latent])[0].square().mean().backward()
        optimizer.step()
    assert seen.corrected == [4] and latent.grad is not None
