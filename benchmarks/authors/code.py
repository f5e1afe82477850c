"""The authors' code, imported from a checkout of it; nothing in it is changed or written."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from core import EXAMPLES
from safetensors.torch import load_file
from torch import Tensor, nn

FOOTWEAR = EXAMPLES / "pggan_small" / "checkpoints" / "pggan_footwear32.safetensors"


class Authors:
    """The authors' classes.

    As shipped their code cannot be imported, because models/sync_op.py is missing: a stand-in for
    one process takes its place, or genforce's own file from a checkout of genforce.
    """

    def __init__(self, checkout: Path, genforce: Path | None):
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(checkout))
        sync_op = types.ModuleType("models.sync_op")
        sync_op.all_gather = lambda tensor: tensor  # type: ignore[attr-defined]
        if genforce:
            path = genforce / "models" / "sync_op.py"
            spec = importlib.util.spec_from_file_location("models.sync_op", path)
            assert spec and spec.loader
            sync_op = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sync_op)
        sys.modules["models.sync_op"] = sync_op
        self.stats = checkout / "stats"
        self.stylegan2 = importlib.import_module("models.stylegan2_generator").StyleGAN2Generator
        self.pggan = importlib.import_module("models.pggan_generator").PGGANGenerator
        released = importlib.import_module("seq_abl").sequential_ablation

        class Ablation(released):  # type: ignore[misc,valid-type]
            """Their class; keeps the scores that their detection drops, and renders no images."""

            def generate_images(self, latents: Tensor) -> Tensor:
                caller = sys._getframe(1).f_locals
                self.scores, self.scored = caller["total_list"], caller["z"]
                return latents

        self.ablation = Ablation

    def generator(self, model: str, resolution: int, seed: int = 0) -> nn.Module:
        """Seeded weights, with biases and noise that spread the activation rates over 0 to 1.

        A network as it is initialised has rates around 0.5 and hardly an LR-neuron; with biases
        drawn from N(-0.5, 1), 55 to 62 % of the neurons have rates ≤ 0.3, as in trained networks.
        """
        torch.manual_seed(seed)
        G: nn.Module = getattr(self, model)(resolution=resolution).eval().requires_grad_(False)
        for name, tensor in G.named_parameters():
            if name.endswith("noise_strength"):
                tensor.fill_(0.3)
            elif name.endswith("bias") and "layer" in name and "style" not in name:
                tensor.normal_(-0.5, 1)
        return G

    def footwear(self, narrow: bool) -> nn.Module:
        """The trained PGGAN of examples/pggan_small; ``narrow`` takes the first 64 of 512 z."""

        class Narrow(self.pggan):  # type: ignore[name-defined]
            def forward(self, z: Tensor) -> Any:
                return super().forward(z[:, : self.z_space_dim])

        G: nn.Module = (Narrow if narrow else self.pggan)(
            resolution=32, z_space_dim=64, fmaps_base=1024, fmaps_max=64
        )
        G.load_state_dict(load_file(FOOTWEAR))
        return G.eval().requires_grad_(False)

    def run(self, G: nn.Module, model: str, samples: int, batch: int, stats: str = "") -> Any:
        """Their object, which draws its latents and measures (or reads) the rates at once."""
        args = types.SimpleNamespace(
            model=model, sample_size=samples, batch_size=batch, freq_path=stats, dataset="ffhq"
        )
        with quiet():
            return self.ablation(G, "cpu", args)


def measured_by_them(model: str) -> list[int]:
    """The layers that their code profiles; it ablates the first three of them."""
    return [0, 1, 3, 5] if model == "stylegan2" else [1, 3, 5, 7]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What is printed in here is not shown."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
