"""Build tiny random networks with a host's own classes, and images of them without any ganfix.

Run by check_hosts.py in the host's checkout, in plain Python on the CPU:
``python host_networks.py KIND OUT`` with KIND one of ada, sg3, genforce, rosinality.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import pickle
import re
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from safetensors.torch import load_file
from torch import nn
from torch.torch_version import TorchVersion

SEEDS = range(8)
ZOO = ("pggan_bedroom256", "stylegan2_church256")


class Detector(nn.Module):
    """Stands in for Inception: a few pooled pixels as features."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(img.float() / 255, [2, 2]).flatten(1)


class Anything(nn.Module):
    """Stands in for every detector of a host: means of random filters, and what else is asked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.filters = nn.Conv2d(3, 24, 5, stride=2)

    def forward(
        self,
        img: torch.Tensor,
        return_features: bool = False,
        no_output_bias: bool = False,
        resize_images: bool = True,
        return_lpips: bool = False,
    ) -> torch.Tensor:
        features = self.filters(img.float() / 127.5 - 1).relu().mean(dim=[2, 3])
        return features if return_features or return_lpips else features.softmax(dim=1)


class Whole(nn.Module):
    """A detector that returns images instead of features."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return img.float()


class Lpips(nn.Module):
    """Stands in for VGG16: pooled pixels as perceptual features."""

    def forward(
        self, img: torch.Tensor, resize_images: bool = True, return_lpips: bool = False
    ) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(img / 255, [8, 8]).flatten(1)


def nvidia(kind: str, out: Path) -> None:
    """Network pickles and images of generate.py or gen_images.py, stand-in detectors, a data set.

    "net" is the codebase's own generator, "noisy" a StyleGAN2 with noise, "micro" one for metrics.
    """
    if kind == "ada":
        from training.networks import Discriminator
        from training.networks import Generator as StyleGAN2

        def stylegan2(size: int) -> Any:
            widths = dict(channel_base=512, channel_max=16)
            return StyleGAN2(**common(size), synthesis_kwargs=widths)

        main = stylegan2(32)
    else:
        from training.networks_stylegan2 import Discriminator
        from training.networks_stylegan2 import Generator as StyleGAN2
        from training.networks_stylegan3 import Generator as StyleGAN3

        def stylegan2(size: int) -> Any:
            return StyleGAN2(**common(size), channel_base=512, channel_max=16)

        main = StyleGAN3(**common(32), channel_base=512, channel_max=16, num_layers=4)
    noisy = stylegan2(32)
    for name, strength in noisy.named_parameters():
        if name.endswith("noise_strength"):
            strength.data.fill_(0.02)
    for name, G in {"net": main, "noisy": noisy, "micro": stylegan2(8)}.items():
        D = Discriminator(c_dim=0, img_resolution=G.img_resolution, img_channels=3, channel_max=16)
        networks = {"G": G, "D": D, "G_ema": G.eval().requires_grad_(False)}
        (out / name).mkdir()
        (out / name / "training_options.json").write_text("{}")
        (out / name / "net.pkl").write_bytes(pickle.dumps(networks))
        for seed in SEEDS:
            z = torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim))
            image = G(z, torch.zeros(1, 0), truncation_psi=1, noise_mode="const")
            pixels = (image[0].permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
            PIL.Image.fromarray(pixels.numpy()).save(out / name / f"seed{seed:04d}.png")
    with zipfile.ZipFile(out / "data.zip", "w") as archive:
        for index in range(8):
            png = io.BytesIO()
            noise = np.random.RandomState(index).randint(0, 256, (8, 8, 3), dtype=np.uint8)
            PIL.Image.fromarray(noise).save(png, "png")
            archive.writestr(f"{index}.png", png.getvalue())
    metric = "metrics/frechet_inception_distance.py"
    if kind == "ada":
        download("projector.py", "vgg16", scripted(Lpips()), out)
        download(metric, "inception", scripted(Detector()), out)
    else:
        download(metric, "inception", persistent(), out)


def common(size: int) -> dict[str, Any]:
    """What every NVIDIA generator is told."""
    return dict(
        z_dim=16,
        c_dim=0,
        w_dim=16,
        img_resolution=size,
        img_channels=3,
        mapping_kwargs={"num_layers": 2},
    )


def scripted(module: nn.Module) -> bytes:
    """A module as TorchScript."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    return file.getvalue()


def persistent() -> bytes:
    """The detector as stylegan3 keeps it: a pickle that carries the source of its class."""
    from torch_utils import persistence

    source = "import torch\nfrom torch import nn\n\n" + inspect.getsource(Detector)
    module = types.ModuleType("stand_in_detector")
    sys.modules[module.__name__] = module
    persistence._module_to_src_dict[module] = source
    exec(source, vars(module))
    return pickle.dumps(persistence.persistent_class(module.Detector)())


def download(asking: str, name: str, content: bytes, out: Path) -> None:
    """Put a file where dnnlib looks for the download that a file of the host asks for."""
    found = re.search(rf"https://[^'\"]*/{name}[^'\"]*", Path(asking).read_text())
    assert found, f"{asking} downloads no {name}"
    folder = out / "dnnlib" / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    mark = hashlib.md5(found[0].encode()).hexdigest()
    (folder / f"{mark}_{found[0].rpartition('/')[2]}").write_bytes(content)


def genforce(out: Path) -> None:
    """Checkpoints of two models of the zoo with images of synthesize.py, and a test configuration.

    The images are drawn as in a run of that script with --num 8 --batch_size 1 --trunc_psi 1.
    """
    import cv2
    from models import MODEL_ZOO, build_discriminator, build_generator

    (out / "checkpoints").mkdir()
    for name in ZOO:
        config = {key: value for key, value in MODEL_ZOO[name].items() if key != "url"}
        torch.manual_seed(7)
        G = build_generator(**config).eval()
        for key, value in G.state_dict().items():
            if key.endswith("noise_strength"):
                value.fill_(0.02)
        weights = {"generator_smooth": G.state_dict()}
        torch.save(weights, out / "checkpoints" / f"{name}.pth")
        (out / name).mkdir()
        torch.manual_seed(0)
        for index in SEEDS:
            z = torch.randn(1, G.z_space_dim)
            with torch.no_grad():
                image = G(z, trunc_psi=1.0, trunc_layers=8, randomize_noise=False)["image"]
            pixels = np.clip((image[0].double().numpy() + 1) * 255 / 2 + 0.5, 0, 255)
            bgr = pixels.astype(np.uint8).transpose(1, 2, 0)[:, :, ::-1]
            cv2.imwrite(str(out / name / f"{index:06d}.jpg"), bgr)

    # The trained PGGAN of examples/pggan_small, registered as the codebase would have it.
    small = Path(__file__).resolve().parents[1] / "examples" / "pggan_small"
    weights = load_file(small / "checkpoints" / "pggan_footwear32.safetensors")
    weights = {name: tensor.float() for name, tensor in weights.items()}
    torch.save({"generator_smooth": weights}, out / "checkpoints" / "pggan_footwear32.pth")
    shape = dict(resolution=32, z_space_dim=64, fmaps_base=1024, fmaps_max=64, url=None)
    with Path("models/model_zoo.py").open("a") as file:
        file.write(f"\nMODEL_ZOO['pggan_footwear32'] = dict(gan_type='pggan', **{shape})\n")

    model = dict(gan_type="stylegan2", resolution=32, fmaps_base=512, fmaps_max=16)
    images = out / "images"
    images.mkdir()
    for index in range(8):
        noise = np.random.RandomState(index).randint(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), noise)
    modules = {"generator": {"model": model}, "discriminator": {"model": model}}
    data = {"num_workers": 1, "val": {"root_dir": str(images), "resolution": 32}}
    (out / "config.py").write_text(
        f"runner_type = 'StyleGAN2Runner'\nbatch_size = 4\nmodules = {modules}\ndata = {data}\n"
    )
    networks = {
        "generator": build_generator(**model).state_dict(),
        "discriminator": build_discriminator(**model).state_dict(),
    }
    networks["generator_smooth"] = networks["generator"]
    torch.save({"models": networks}, out / "test.pth")
    from metrics.inception import Inception3, model_urls

    folder = out / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    inception = Inception3(1008, aux_logits=False, align_tf=True)
    torch.save(inception.state_dict(), folder / model_urls["tf_inception_v3"].rpartition("/")[2])


class Biased(nn.Module):
    """Stands in for rosinality's compiled activation, which has a bias, where none is run."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))


def rosinality(out: Path) -> None:
    """A checkpoint of the size that check_steer.py names."""
    op = types.ModuleType("op")
    vars(op).update(FusedLeakyReLU=Biased, conv2d_gradfix=None)
    vars(op).update(fused_leaky_relu=None, upfirdn2d=None)
    sys.modules["op"] = op
    from model import Generator

    G = Generator(32, 512, 8, channel_multiplier=1)
    torch.save({"g_ema": G.state_dict()}, out / "net.pt")


def main() -> None:
    kind, out = sys.argv[1], Path(sys.argv[2])
    sys.path[0] = os.getcwd()
    # What the hosts' modules import and a current environment no longer has.
    for name, member in (
        ("pkg_resources.parse_version", TorchVersion),
        ("torchvision.models.utils.load_state_dict_from_url", None),
    ):
        module_name, _, attribute = name.rpartition(".")
        module = types.ModuleType(module_name)
        setattr(module, attribute, member)
        sys.modules[module_name] = module
    torch.manual_seed(3)
    (out / "anything.pt").write_bytes(scripted(Anything()))
    (out / "whole.pt").write_bytes(scripted(Whole()))
    if kind in ("genforce", "rosinality"):
        {"genforce": genforce, "rosinality": rosinality}[kind](out)
    else:
        nvidia(kind, out)


if __name__ == "__main__":
    main()
