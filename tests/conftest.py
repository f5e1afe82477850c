"""Generators that every test may use, and a profile store of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gan_face_generate
import pytest
import torch
from gan_face_generate.models import Generator
from generators import hooks
from raters import three_raters
from safetensors.torch import load_file
from torch import nn

from examples import EXAMPLES, importing
from ganfix_plugin import registry
from ganfix_plugin.web.answers import Answers

# On networks this small more threads only get in each other's way, most of all on a busy machine.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A GANFIX_CACHE that starts empty and that all tests and their subprocesses share."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("GANFIX_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def labels_are_of_one_test(cache: Path) -> Iterator[None]:
    """What is measured is the same for all tests; what people said of a generator is not."""
    yield
    shutil.rmtree(cache / "labels", ignore_errors=True)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GANFIX_CACHE for one test alone."""
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution with correctors, and with the source of their module if given."""

    def add(name: str, entries: str, source: str = "") -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[{registry.CORRECTORS}]\n{entries}\n")
        if source:
            module = entries.split("= ")[1].split(":")[0]
            (folder / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(folder)

    return add


@pytest.fixture(scope="session")
def network_pickle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network pickle of examples/stylegan2_small."""
    path = tmp_path_factory.mktemp("network") / "footwear32.pkl"
    command = [sys.executable, "make_network.py", f"--out={path}"]
    subprocess.run(command, cwd=EXAMPLES / "stylegan2_small", check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def _face() -> nn.Module:
    weights = Path(gan_face_generate.__file__).with_name("weights.tar")
    state = torch.load(weights, map_location="cpu", weights_only=True)["netG_state_dict"]
    G = Generator(ngpu=0, nc=3, nz=100, ngf=64)
    G.load_state_dict(state)
    return G.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def _stylegan2(network_pickle: Path) -> nn.Module:
    with importing("stylegan2_small"):
        import legacy

        with network_pickle.open("rb") as file:
            return legacy.load_network_pkl(file)["G_ema"]


@pytest.fixture(scope="session")
def _pggan() -> nn.Module:
    with importing("pggan_small"):
        from models import MODEL_ZOO, build_generator
    options: dict[str, Any] = {**MODEL_ZOO["pggan_footwear32"]}
    del options["url"]
    G = build_generator(**options)
    state = load_file(EXAMPLES / "pggan_small" / "checkpoints" / "pggan_footwear32.safetensors")
    G.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return G.eval().requires_grad_(False)


def _unhooked(G: nn.Module) -> Iterator[nn.Module]:
    yield G
    left = hooks(G)
    for name, table in left:
        getattr(G.get_submodule(name), table).clear()
    assert not left, "the test left hooks on a generator that others use"


@pytest.fixture
def face(_face: nn.Module) -> Iterator[nn.Module]:
    """The face GAN: a DCGAN with 64×64 images and real artifacts."""
    yield from _unhooked(_face)


@pytest.fixture
def stylegan2(_stylegan2: nn.Module) -> Iterator[nn.Module]:
    """The footwear StyleGAN2 out of a network pickle, its class in a generated module."""
    with importing("stylegan2_small"):  # copies and pickles import torch_utils
        yield from _unhooked(_stylegan2)


@pytest.fixture
def pggan(_pggan: nn.Module) -> Iterator[nn.Module]:
    """The footwear PGGAN of the genforce-shaped example."""
    with importing("pggan_small"):
        yield from _unhooked(_pggan)


@pytest.fixture(params=["stylegan2", "pggan", "face"])
def G(request: pytest.FixtureRequest) -> nn.Module:
    """Each of the three trained generators."""
    found: nn.Module = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def build_stylegan2(stylegan2: nn.Module) -> Any:
    """A maker of small untrained StyleGAN2 generators, of the class in the generated module."""

    def build(c_dim: int = 0, **synthesis: Any) -> nn.Module:
        torch.manual_seed(0)
        options = {"channel_base": 256, "channel_max": 16, **synthesis}
        G = type(stylegan2)(
            z_dim=8,
            c_dim=c_dim,
            w_dim=8,
            img_resolution=32,
            img_channels=3,
            mapping_kwargs={"num_layers": 2},
            synthesis_kwargs=options,
        )
        return G.eval().requires_grad_(False)

    return build


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """What three raters said of one correction; see `raters`."""
    return three_raters(tmp_path / "answers.sqlite")
