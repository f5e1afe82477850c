"""StyleGAN2 (Karras et al., 2020): the skip generator and the residual discriminator.

Names of parameters and buffers, constructor keywords and calls are those of NVIDIA's
stylegan2-ada-pytorch, so that a state dict of one loads into the other and gives the same images.
Tensors are [N, C, H, W], images in [-1, 1], resolutions powers of two from 4. All of it stays in
one file, since a network pickle carries the source of one module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_utils import misc
from torch_utils.persistence import persistent_class

ACTIVATIONS = {  # name -> (function, gain that keeps the variance)
    "linear": (lambda x: x, 1.0),
    "relu": (functional.relu, math.sqrt(2)),
    "lrelu": (lambda x: functional.leaky_relu(x, 0.2), math.sqrt(2)),
}


def lowpass() -> Tensor:
    """The binomial filter 1 3 3 1 as a kernel [4, 4] of sum 1."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(row, row)


def blur(x: Tensor, kernel: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Every channel filtered: H becomes (H + 2 padding - 4) // stride + 1."""
    weight = kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(x, weight, padding=padding, stride=stride, groups=x.shape[1])


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Twice the height and width, filtered."""
    weight = (kernel * 4).to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return functional.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def convolve_up(x: Tensor, weight: Tensor, kernel: Tensor, groups: int = 1) -> Tensor:
    """3x3 convolution that doubles height and width, then filters."""
    swapped = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    doubled = functional.conv_transpose2d(x, swapped, stride=2, groups=groups)
    return blur(doubled, kernel * 4, padding=1)


def bias_act(
    x: Tensor, bias: Tensor | None, activation: str, gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """`activation(x + bias)` times its own gain and `gain`, clamped to `±clamp * gain`."""
    function, own_gain = ACTIVATIONS[activation]
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
    x = function(x) * (own_gain * gain)
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def modulated_conv2d(
    x: Tensor,  # [N, I, H, W]
    weight: Tensor,  # [O, I, k, k]
    styles: Tensor,  # [N, I]
    kernel: Tensor | None = None,  # given: double height and width, filtered with it
    demodulate: bool = True,
    fused_modconv: bool = True,
) -> Tensor:
    """Convolution modulated per sample: in its weights (fused), or before and after it."""
    samples = x.shape[0]
    if demodulate and x.dtype == torch.float16:
        # Half floats end at 65504. Demodulation cancels any scale of weights and styles.
        peak = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
        weight = weight / (peak * math.sqrt(weight[0].numel()))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    gains = styles.new_ones(samples, weight.shape[0])  # [N, O]
    if demodulate:
        gains = (styles.square() @ weight.square().sum(dim=(2, 3)).t() + 1e-8).rsqrt()

    def convolve(x: Tensor, weight: Tensor, groups: int) -> Tensor:
        weight = weight.to(x.dtype)
        if kernel is not None:
            return convolve_up(x, weight, kernel, groups)
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    if fused_modconv:
        weights = weight * styles[:, None, :, None, None] * gains[:, :, None, None, None]
        y = convolve(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), groups=samples)
        return y.reshape(samples, -1, *y.shape[2:])
    y = convolve(x * styles.to(x.dtype)[:, :, None, None], weight, groups=1)
    return y * gains.to(y.dtype)[:, :, None, None]


def conv_weight(out_channels: int, in_channels: int, size: int, layout: bool) -> nn.Parameter:
    memory_format = torch.channels_last if layout else torch.contiguous_format
    weight = torch.randn(out_channels, in_channels, size, size)
    return nn.Parameter(weight.to(memory_format=memory_format))


def second_moment_norm(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def block_format(block: Any, force_fp32: bool) -> dict[str, Any]:
    """What a block computes in: half floats and channels-last only where it was built for them."""
    half = block.use_fp16 and not force_fp32
    last = half and block.channels_last
    return {
        "dtype": torch.float16 if half else torch.float32,
        "memory_format": torch.channels_last if last else torch.contiguous_format,
    }


def first_fp16_resolution(img_resolution: int, num_fp16_res: int) -> int:
    """The lowest resolution in half floats, when the `num_fp16_res` highest are; never below 8."""
    return max(img_resolution * 2 >> num_fp16_res, 8)


@persistent_class
class FullyConnectedLayer(nn.Module):
    """Linear layer with an equalised learning rate: [N, in] to [N, out]."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self.weight.to(x.dtype) * self.weight_gain)
        return bias_act(y, self.bias * self.bias_gain, self.activation)


@persistent_class
class MappingNetwork(nn.Module):
    """z [N, z_dim] and labels c [N, c_dim] to w [N, num_ws, w_dim]; num_ws None: [N, w_dim]."""

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.num_ws, self.num_layers, self.w_avg_beta = num_ws, num_layers, w_avg_beta
        embedded = 0
        if c_dim > 0:
            embedded = w_dim if embed_features is None else embed_features
            self.embed = FullyConnectedLayer(c_dim, embedded)
        hidden = w_dim if layer_features is None else layer_features
        widths = [z_dim + embedded, *[hidden] * (num_layers - 1), w_dim]
        for i in range(num_layers):
            layer = FullyConnectedLayer(widths[i], widths[i + 1], activation, lr_multiplier)
            self.add_module(f"fc{i}", layer)
        if not (num_ws is None or w_avg_beta is None):
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        skip_w_avg_update: bool = False,
    ) -> Tensor:
        parts = []
        if self.z_dim > 0:
            assert z is not None
            misc.assert_shape(z, (None, self.z_dim))
            parts.append(second_moment_norm(z.to(torch.float32)))
        if self.c_dim > 0:
            assert c is not None
            misc.assert_shape(c, (None, self.c_dim))
            parts.append(second_moment_norm(self.embed(c.to(torch.float32))))
        w = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            w = getattr(self, f"fc{i}")(w)
        if self.training and self.w_avg_beta is not None and not skip_w_avg_update:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        if self.num_ws is None:
            return w
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
            truncated = self.w_avg.lerp(ws[:, :cut], truncation_psi)
            ws = torch.cat([truncated, ws[:, cut:]], dim=1)
        return ws


@persistent_class
class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, activation; the output is the papers' feature map."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        activation: str = "lrelu",
        conv_clamp: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.resolution, self.up = resolution, up
        self.activation, self.conv_clamp = activation, conv_clamp
        self.register_buffer("resample_filter", lowpass())
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = conv_weight(out_channels, in_channels, 3, channels_last)
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: Tensor, w: Tensor, noise_mode: str = "random", fused_modconv: bool = True
    ) -> Tensor:
        if noise_mode not in ("random", "const", "none"):
            raise ValueError(f"noise_mode {noise_mode!r}: expected random, const or none")
        size = self.resolution // self.up
        misc.assert_shape(x, [None, self.weight.shape[1], size, size])
        kernel = self.resample_filter if self.up == 2 else None
        y = modulated_conv2d(x, self.weight, self.affine(w), kernel, fused_modconv=fused_modconv)
        if noise_mode != "none":
            noise = self.noise_const
            if noise_mode == "random":
                noise = torch.randn(y.shape[0], 1, *y.shape[2:], device=y.device)
            y = y + (noise * self.noise_strength).to(y.dtype)
        return bias_act(y, self.bias, self.activation, clamp=self.conv_clamp)


@persistent_class
class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to colours, without demodulation, noise or activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        conv_clamp: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = conv_weight(out_channels, in_channels, 1, channels_last)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor, fused_modconv: bool = True) -> Tensor:
        styles = self.weight_gain * self.affine(w)
        y = modulated_conv2d(x, self.weight, styles, demodulate=False, fused_modconv=fused_modconv)
        return bias_act(y, self.bias, "linear", clamp=self.conv_clamp)


@persistent_class
class SynthesisBlock(nn.Module):
    """One resolution: two layers (one at 4x4) and the colours they add to the image."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,  # 0 in the first block, which starts from a constant
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str = "skip",
        conv_clamp: float | None = None,
        use_fp16: bool = False,
        fp16_channels_last: bool = False,
        **layer_kwargs: Any,
    ) -> None:
        if architecture != "skip":
            raise ValueError(f"generator architecture {architecture!r}: only skip is written here")
        super().__init__()
        self.in_channels, self.w_dim, self.resolution = in_channels, w_dim, resolution
        self.img_channels, self.is_last, self.architecture = img_channels, is_last, architecture
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last
        self.num_conv, self.num_torgb = (2 if in_channels else 1), 1
        self.register_buffer("resample_filter", lowpass())
        conv: dict[str, Any] = {"conv_clamp": conv_clamp, "channels_last": self.channels_last}
        layer: dict[str, Any] = {"resolution": resolution, **conv, **layer_kwargs}
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, up=2, **layer)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, **layer)
        self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, **conv)

    def forward(
        self,
        x: Tensor | None,
        img: Tensor | None,
        ws: Tensor,
        force_fp32: bool = False,
        fused_modconv: bool | None = None,
        **layer_kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        misc.assert_shape(ws, (None, self.num_conv + self.num_torgb, self.w_dim))
        format_ = block_format(self, force_fp32)
        if fused_modconv is None:
            single = format_["dtype"] == torch.float32 or ws.shape[0] == 1
            fused_modconv = single and not self.training
        if x is None:
            x = self.const.expand(ws.shape[0], -1, -1, -1)
        x = x.to(**format_)
        *layer_ws, rgb_w = ws.unbind(dim=1)
        layers = [self.conv0, self.conv1] if self.in_channels else [self.conv1]
        for layer, w in zip(layers, layer_ws, strict=True):
            x = layer(x, w, fused_modconv=fused_modconv, **layer_kwargs)
        assert x is not None and x.dtype == format_["dtype"]
        rgb = self.torgb(x, rgb_w, fused_modconv=fused_modconv)
        rgb = rgb.to(dtype=torch.float32, memory_format=torch.contiguous_format)
        return x, rgb if img is None else upsample(img, self.resample_filter) + rgb


@persistent_class
class SynthesisNetwork(nn.Module):
    """w [N, num_ws, w_dim] to images [N, img_channels, R, R], float32."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        **block_kwargs: Any,
    ) -> None:
        if img_resolution < 4 or img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution {img_resolution}: expected a power of two from 4")
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.img_resolution_log2 = img_resolution.bit_length() - 1
        self.block_resolutions = [2**i for i in range(2, self.img_resolution_log2 + 1)]
        channels = {res: min(channel_base // res, channel_max) for res in self.block_resolutions}
        fp16_from = first_fp16_resolution(img_resolution, num_fp16_res)
        self.num_ws = 1
        for res in self.block_resolutions:
            block = SynthesisBlock(
                channels.get(res // 2, 0),
                channels[res],
                w_dim,
                res,
                img_channels,
                is_last=res == img_resolution,
                use_fp16=res >= fp16_from,
                **block_kwargs,
            )
            self.num_ws += block.num_conv
            self.add_module(f"b{res}", block)

    def forward(self, ws: Tensor, **block_kwargs: Any) -> Tensor:
        misc.assert_shape(ws, (None, self.num_ws, self.w_dim))
        ws = ws.float()
        x = img = None
        first = 0
        for res in self.block_resolutions:
            block = getattr(self, f"b{res}")
            # The colours of a block and the first layer of the next one share a w.
            block_ws = ws[:, first : first + block.num_conv + block.num_torgb]
            x, img = block(x, img, block_ws, **block_kwargs)
            first += block.num_conv
        assert img is not None
        return img


@persistent_class
class Generator(nn.Module):
    """z [N, z_dim] and c [N, c_dim] to images [N, img_channels, R, R] in about [-1, 1]."""

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        mapping_kwargs: Mapping[str, Any] | None = None,
        synthesis_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = SynthesisNetwork(
            w_dim, img_resolution, img_channels, **(synthesis_kwargs or {})
        )
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **(mapping_kwargs or {}))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        **synthesis_kwargs: Any,
    ) -> Tensor:
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)


@persistent_class
class Conv2dLayer(nn.Module):
    """Convolution, equalised in learning rate, bias and activation; `down=2` halves the size."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: str = "linear",
        down: int = 1,
        conv_clamp: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.down, self.conv_clamp = activation, down, conv_clamp
        self.register_buffer("resample_filter", lowpass())
        self.weight = conv_weight(out_channels, in_channels, kernel_size, channels_last)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        size = int(weight.shape[-1])  # a tensor while it is traced
        if self.down == 1:
            x = functional.conv2d(x, weight, padding=size // 2)
        elif size == 1:
            x = functional.conv2d(blur(x, self.resample_filter, padding=1, stride=2), weight)
        else:
            x = functional.conv2d(blur(x, self.resample_filter, padding=2), weight, stride=2)
        return bias_act(x, self.bias, self.activation, gain, self.conv_clamp)


@persistent_class
class DiscriminatorBlock(nn.Module):
    """One resolution: [N, in, R, R] (the image itself in the first block) to [N, out, R/2, R/2]."""

    def __init__(
        self,
        in_channels: int,  # 0 in the first block, which starts from the image
        tmp_channels: int,
        out_channels: int,
        img_channels: int,
        activation: str = "lrelu",
        conv_clamp: float | None = None,
        use_fp16: bool = False,
        fp16_channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last
        self.register_buffer("resample_filter", lowpass())
        layout: dict[str, Any] = {"channels_last": self.channels_last}
        conv: dict[str, Any] = {"activation": activation, "conv_clamp": conv_clamp, **layout}
        if in_channels == 0:
            self.fromrgb = Conv2dLayer(img_channels, tmp_channels, 1, **conv)
        self.conv0 = Conv2dLayer(tmp_channels, tmp_channels, 3, **conv)
        self.conv1 = Conv2dLayer(tmp_channels, out_channels, 3, down=2, **conv)
        self.skip = Conv2dLayer(tmp_channels, out_channels, 1, bias=False, down=2, **layout)

    def forward(self, x: Tensor, force_fp32: bool = False) -> Tensor:
        x = x.to(**block_format(self, force_fp32))
        if self.in_channels == 0:
            x = self.fromrgb(x)
        gain = math.sqrt(0.5)
        return self.skip(x, gain) + self.conv1(self.conv0(x), gain)


@persistent_class
class MinibatchStdLayer(nn.Module):
    """Appends the mean deviation within groups of samples as `num_channels` constant channels."""

    def __init__(self, group_size: int | None, num_channels: int = 1) -> None:
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: Tensor) -> Tensor:
        samples, channels, height, width = x.shape
        group = samples if self.group_size is None else min(self.group_size, samples)
        if samples % group:
            raise ValueError(f"batch of {samples}: the discriminator wants multiples of {group}")
        split = (self.num_channels, channels // self.num_channels)
        members = x.reshape(group, samples // group, *split, height, width)
        deviation = (members.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
        extra = deviation[:, :, None, None].repeat(group, 1, height, width)
        return torch.cat([x, extra], dim=1)


@persistent_class
class DiscriminatorEpilogue(nn.Module):
    """The end: [N, C, R, R] to logits [N, 1], with labels by projection."""

    def __init__(
        self,
        in_channels: int,
        cmap_dim: int,
        resolution: int,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        activation: str = "lrelu",
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.cmap_dim = cmap_dim
        self.mbstd: nn.Module = nn.Identity()
        if mbstd_num_channels > 0:
            self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels)
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels,
            in_channels,
            3,
            activation=activation,
            conv_clamp=conv_clamp,
        )
        self.fc = FullyConnectedLayer(in_channels * resolution**2, in_channels, activation)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x: Tensor, cmap: Tensor | None) -> Tensor:
        x = x.to(dtype=torch.float32, memory_format=torch.contiguous_format)
        logits = self.out(self.fc(self.conv(self.mbstd(x)).flatten(1)))
        if cmap is not None:
            logits = (logits * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)
        return logits


@persistent_class
class Discriminator(nn.Module):
    """Images [N, img_channels, R, R] and labels c [N, c_dim] to logits [N, 1]."""

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        architecture: str = "resnet",
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        cmap_dim: int | None = None,
        block_kwargs: Mapping[str, Any] | None = None,
        mapping_kwargs: Mapping[str, Any] | None = None,
        epilogue_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if architecture != "resnet":
            raise ValueError(f"discriminator architecture {architecture!r}: only resnet is here")
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        self.img_resolution_log2 = img_resolution.bit_length() - 1
        self.block_resolutions = [2**i for i in range(self.img_resolution_log2, 2, -1)]
        resolutions: Sequence[int] = [*self.block_resolutions, 4]
        channels = {res: min(channel_base // res, channel_max) for res in resolutions}
        fp16_from = first_fp16_resolution(img_resolution, num_fp16_res)
        for res in self.block_resolutions:
            block = DiscriminatorBlock(
                0 if res == img_resolution else channels[res],
                channels[res],
                channels[res // 2],
                img_channels,
                conv_clamp=conv_clamp,
                use_fp16=res >= fp16_from,
                **(block_kwargs or {}),
            )
            self.add_module(f"b{res}", block)
        mapped = 0
        if c_dim > 0:
            mapped = channels[4] if cmap_dim is None else cmap_dim
            self.mapping = MappingNetwork(
                0, c_dim, mapped, None, w_avg_beta=None, **(mapping_kwargs or {})
            )
        self.b4 = DiscriminatorEpilogue(
            channels[4], mapped, 4, conv_clamp=conv_clamp, **(epilogue_kwargs or {})
        )

    def features(self, img: Tensor, force_fp32: bool = False) -> Tensor:
        """[N, C, 4, 4]: what is known of each image before samples are compared in a batch."""
        misc.assert_shape(img, [None, self.img_channels, self.img_resolution, self.img_resolution])
        x = img
        for res in self.block_resolutions:
            x = getattr(self, f"b{res}")(x, force_fp32=force_fp32)
        return x

    def forward(self, img: Tensor, c: Tensor | None, force_fp32: bool = False) -> Tensor:
        x = self.features(img, force_fp32)
        return self.b4(x, self.mapping(None, c) if self.c_dim > 0 else None)
