"""Small generators of the families that `examples/` lacks, and how scripts call all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.generators.find import unwrap
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer

HOOK_TABLES = [name for name in nn.Module().__dict__ if "_hooks" in name]


def latents(G: nn.Module, n: int, seed: int = 0) -> Tensor:
    """n latents in the generator's own shape."""
    G = unwrap(G)
    shape = Generator.of(G).latent_shape
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def images(G: nn.Module, z: Tensor, noise_mode: str = "const", seed: int = 0) -> Tensor:
    """Call G as its scripts do, after setting the random state that random noise comes from."""
    torch.manual_seed(seed)
    with torch.no_grad():
        if hasattr(unwrap(G), "z_dim"):  # NVIDIA's
            return G(z, None, noise_mode=noise_mode)
        output = G(z)
    return output["image"] if isinstance(output, dict) else output


def numbered(G: nn.Module) -> tuple[Layer, ...]:
    """The layers that the adapter finds."""
    return Generator.of(G).layers


def hooks(G: nn.Module) -> dict[tuple[str, str], list[int]]:
    """The ids in every hook table of every module that has any."""
    tables = ((name, t, m.__dict__[t]) for name, m in G.named_modules() for t in HOOK_TABLES)
    return {(name, table): list(ids) for name, table, ids in tables if ids}


@contextmanager
def recorded(G: nn.Module, layers: tuple[Layer, ...]) -> Iterator[dict[str, Tensor]]:
    """What the layers return in the passes inside, by plain hooks of torch: the last pass's."""
    found: dict[str, Tensor] = {}

    def keep(layer: Layer) -> Any:
        return lambda module, args, output: found.update({layer.name: layer.read(output).clone()})

    handles = [G.get_submodule(each.name).register_forward_hook(keep(each)) for each in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def dcgan(seed: int = 0) -> nn.Sequential:
    """z [8, 1, 1] to images [3, 16, 16], with the in-place ReLUs that DCGANs have."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.ConvTranspose2d(8, 12, 4),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    ).eval()


class Noisy(nn.Module):
    """A generator that no adapter knows, and that draws noise of its own in every pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.ConvTranspose2d(8, 12, 4)
        self.second = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.last = nn.Conv2d(8, 3, 1)
        self.eval()

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).relu()
        x = self.second(x + torch.randn_like(x))
        return self.last(x.relu()).tanh()


class ReturnsStyle(nn.Module):
    """A layer as in genforce's StyleGAN2: the feature map and the style it was made with."""

    def __init__(self, units: int, up: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, units, 3, 3) / (3 * units**0.5))
        self.bias = nn.Parameter(torch.zeros(units))
        self.style = nn.Linear(8, units)
        self.activate = nn.LeakyReLU(0.2, inplace=True)
        self.scale = 2 if up else 1

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        style = self.style(w)
        x = nn.functional.interpolate(x, scale_factor=self.scale) * style[:, :, None, None]
        return self.activate(nn.functional.conv2d(x, self.weight, self.bias, padding=1)), style


class NormalizesAfter(ReturnsStyle):
    """A layer as in genforce's StyleGAN: instance norm follows the activation."""

    def __init__(self, units: int, up: bool) -> None:
        super().__init__(units, up)
        self.normalize = nn.InstanceNorm2d(units)

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x, style = super().forward(x, w)
        return self.normalize(x), style


class Epilogue(nn.Module):
    """Ends a layer as in genforce's code before genforce: noise, bias, activation, instance norm,
    style."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(units))
        self.activate = nn.LeakyReLU(0.2, inplace=True)
        self.norm = nn.InstanceNorm2d(units)
        self.style_mod = nn.Linear(8, units)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.norm(self.activate(x + self.bias[:, None, None]))
        return x * self.style_mod(w)[:, :, None, None]


class EndsInEpilogue(nn.Module):
    def __init__(self, units: int, up: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.epilogue = Epilogue(units)
        self.scale = 2 if up else 1

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(nn.functional.interpolate(x, scale_factor=self.scale))
        return self.epilogue(x, w), w


class _Genforce(nn.Module):
    """Images of 16×16 from z [8]; genforce's names of attributes, modules and the result."""

    layer: type[nn.Module] = ReturnsStyle
    image_alone = False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.z_space_dim, self.w_space_dim, self.label_size = 8, 8, 0
        self.mapping = nn.Linear(8, 8)
        self.truncation = _MeanLatent()
        self.synthesis = _Synthesis(self.layer, self.upsampling, self.image_alone)
        self.eval()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Any:
        w = self.mapping(z)
        made = self.synthesis(w, False)
        return made if self.image_alone else {"z": z, "w": w, **made}


class _MeanLatent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(8))


class _Synthesis(nn.Module):
    def __init__(self, layer: type[nn.Module], upsampling: tuple[bool, ...], alone: bool) -> None:
        super().__init__()
        self.alone = alone
        self.const = nn.Parameter(torch.randn(1, 6, 4, 4))
        for index, up in enumerate(upsampling):
            self.add_module(f"layer{index}", layer(6, up))
        self.count = len(upsampling)
        self.output = nn.Conv2d(6, 3, 1)

    def forward(self, w: Tensor, randomize_noise: bool = False) -> Any:
        x = self.const.repeat(len(w), 1, 1, 1)
        for index in range(self.count):
            x, _ = self.get_submodule(f"layer{index}")(x, w)
        return self.output(x) if self.alone else {"image": self.output(x)}


class StyleGAN2Generator(_Genforce):
    """Layer 0 is at 4×4, then two layers per resolution, the first of which doubles it."""

    upsampling = (False, True, False, True, False)


class StyleGANGenerator(_Genforce):
    """Two layers per resolution from 4×4 on."""

    layer = NormalizesAfter
    upsampling = (False, False, True, False, True, False)


class EarlierGenerator(_Genforce):
    """A StyleGAN as in genforce's code before genforce; it returns its images as they are."""

    layer = EndsInEpilogue
    upsampling = StyleGANGenerator.upsampling
    image_alone = True


class MoreConvolutions(nn.Module):
    """Blocks as in StyleGAN-T: a first convolution that upsamples, and a list of others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.z_dim, self.c_dim = 8, 0
        self.mapping = nn.Linear(8, 8)
        self.synthesis = _Blocks()
        self.eval()

    def forward(self, z: Tensor, c: Tensor | None = None, noise_mode: str = "random") -> Tensor:
        return self.synthesis(self.mapping(z))


class _Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block_resolutions = [8, 16]
        self.b8, self.b16 = _Block(False), _Block(True)
        self.b8.input = _Input()

    def forward(self, w: Tensor, noise_mode: str = "random") -> Tensor:
        x = self.b8(self.b8.input(w), w)
        return self.b16.torgb(self.b16(x, w), w)


class _Input(nn.Module):
    """A feature map that w shifts, before the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.affine = nn.Linear(8, 6)
        self.weight = nn.Parameter(torch.randn(6, 8, 8))

    def forward(self, w: Tensor) -> Tensor:
        return self.weight + self.affine(w)[:, :, None, None]


class _Block(nn.Module):
    def __init__(self, up: bool) -> None:
        super().__init__()
        if up:
            self.conv0 = _Modulated(6, 6)
        self.convs1 = nn.ModuleList([_Modulated(6, 6), _Modulated(6, 6)])
        self.torgb = _Modulated(6, 3)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if hasattr(self, "conv0"):
            x = self.conv0(nn.functional.interpolate(x, scale_factor=2), w)
        for convolution in self.convs1:
            x = convolution(x, w)
        return x


class _Modulated(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.affine = nn.Linear(8, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styled = x * self.affine(w)[:, :, None, None]
        return nn.functional.conv2d(styled, self.weight, self.bias, padding=1).relu()


class StyleGAN3Shaped(nn.Module):
    """`synthesis.layer_names` of convolutions on a wide map after `synthesis.input`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = 8, 0, 8, 5
        self.mapping = nn.Linear(8, 8)
        self.mapping.register_buffer("w_avg", torch.zeros(8))
        self.synthesis = _AliasFree()
        self.eval()

    def forward(self, z: Tensor, c: Tensor | None, noise_mode: str = "random") -> Tensor:
        return self.synthesis(self.mapping(z))


class _AliasFree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(8, 4 * 10 * 12)
        self.layer_names = ["L0_12_6", "L1_12_6", "L2_12_5", "L3_12_5", "L4_12_3"]
        inputs = 4
        for name, outputs in zip(self.layer_names, (6, 6, 5, 5, 3)):
            self.add_module(name, _Margin(inputs, outputs))
            inputs = outputs

    def forward(self, w: Tensor) -> Tensor:
        x = self.input(w).view(-1, 4, 10, 12)
        for name in self.layer_names:
            x = self.get_submodule(name)(x)
        return x


class _Margin(nn.Module):
    """A convolution on 10 rows of 12; its output is a view into a wider map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.out_channels, self.out_size = outputs, (12, 10)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5))

    def forward(self, x: Tensor) -> Tensor:
        wide = nn.functional.conv2d(x, self.weight, padding=2)
        return nn.functional.leaky_relu(wide, 0.2)[:, :, 1:-1, 1:-1]


class _GBlock(nn.Module):
    """A residual block of BigGAN, before its normalisations: they do not matter here."""

    def __init__(self, inputs: int, outputs: int, relu: nn.Module) -> None:
        super().__init__()
        self.out_channels, self.activation = outputs, relu
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_sc = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = nn.functional.interpolate(self.activation(x), scale_factor=2)
        return self.conv1(h) + self.conv_sc(nn.functional.interpolate(x, scale_factor=2)) + y


class BigGANShaped(nn.Module):
    """`blocks` of residual sums from 8×8 on, one ReLU for all, and a class embedding."""

    def __init__(self, unconditional: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dim_z, self.n_classes, self.unconditional = 8, 3, unconditional
        self.arch = {"resolution": [8, 16, 32, 64]}
        self.shared = nn.Embedding(3, 1)
        self.linear = nn.Linear(8, 6 * 16)
        relu = nn.ReLU()
        blocks = [[_GBlock(6, 6, relu)] for _ in self.arch["resolution"]]
        self.blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.output_layer = nn.Sequential(relu, nn.Conv2d(6, 3, 1))
        self.eval()

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.linear(z).view(-1, 6, 4, 4)
        for blocks in self.blocks:
            for block in blocks:
                h = block(h, y[:, :, None, None])
        return self.output_layer(h).tanh()


class _StyledConv(nn.Module):
    def __init__(self, up: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.conv.out_channel = 6
        self.scale = 2 if up else 1

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        x = self.conv(nn.functional.interpolate(x, scale_factor=self.scale)) * w[:, :, None, None]
        noise = torch.randn_like(x[:, :1]) if noise is None else noise
        return nn.functional.leaky_relu(x + 0.1 * noise, 0.2)


class RosinalityShaped(nn.Module):
    """A list of latents to an image and None; random noise unless it is asked not to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.style_dim = 6
        self.style = nn.Linear(6, 6)
        self.input = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.conv1 = _StyledConv(up=False)
        self.convs = nn.ModuleList(_StyledConv(up) for up in (True, False, True, False))
        self.noises = nn.Module()
        for index, size in enumerate((4, 8, 8, 16, 16)):
            self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, size, size))
        self.to_rgb = nn.Conv2d(6, 3, 1)
        self.eval()

    def forward(
        self,
        styles: list[Tensor],
        input_is_latent: bool = False,
        randomize_noise: bool = True,
    ) -> tuple[Tensor, None]:
        w = styles[0] if input_is_latent else self.style(styles[0])
        x = self.input.repeat(len(w), 1, 1, 1)
        for index, conv in enumerate((self.conv1, *self.convs)):
            kept = None if randomize_noise else self.noises.get_buffer(f"noise_{index}")
            x = conv(x, w, kept)
        return self.to_rgb(x), None


class _UpModConv(_StyledConv):
    def __init__(self, up: bool) -> None:
        super().__init__(up)
        self.weight = nn.Parameter(torch.zeros(1, 6, 6, 3, 3))


class StyleGAN2TorchShaped(nn.Module):
    """As the PyPI package has it: `convs` and `up_convs` apart, and noise only from outside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.latent_dim, self.n_w_plus = 6, 6
        self.mapping = nn.Linear(6, 6)
        self.constant = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.convs = nn.ModuleList(_UpModConv(up=False) for _ in range(3))
        self.up_convs = nn.ModuleList(_UpModConv(up=True) for _ in range(2))
        self.to_rgb = nn.Conv2d(6, 3, 1)
        self.eval()

    def forward(self, input: list[Tensor], *, noises: list[Tensor] | None = None) -> Tensor:
        w = self.mapping(input[0])
        kept: list[Tensor | None] = list(noises or [None] * 5)
        x = self.convs[0](self.constant.repeat(len(w), 1, 1, 1), w, kept[0])
        for i, up in enumerate(self.up_convs):
            x = self.convs[i + 1](up(x, w, kept[2 * i + 1]), w, kept[2 * i + 2])
        return self.to_rgb(x)


class _ProGANBlock(nn.Module):
    """Two convolutions that share one LeakyReLU."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.conv_1, self.conv_2 = first, nn.Conv2d(6, 6, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.lrelu(self.conv_2(self.lrelu(self.conv_1(x))))


class ProGANShaped(nn.Module):
    """`layers` of two convolutions each, from a latent at 4×4 up."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.depth, self.latent_size = 4, 8
        first = _ProGANBlock(nn.ConvTranspose2d(8, 6, 4))
        others = [_ProGANBlock(nn.Conv2d(6, 6, 3, padding=1)) for _ in range(2)]
        self.layers = nn.ModuleList([first, *others])
        self.rgb_converters = nn.ModuleList(nn.Conv2d(6, 3, 1) for _ in self.layers)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers[0](x[:, :, None, None])
        for layer in self.layers[1:]:
            y = layer(nn.functional.interpolate(y, scale_factor=2))
        return self.rgb_converters[-1](y)
