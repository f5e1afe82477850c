"""GAN Dissection's own functions beside ours, on the same latents or feature maps.

Their code runs unmodified out of the checkout. Three stand-ins live in this process only:
torchvision (imported there, used here by nothing), netdissect.segmenter (it wants scikit-image and
a segmentation network), and save_state_dict (numpy 1.24 and later refuse the ragged arrays that it
saves; nothing is saved instead, which only helps them).
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

import torch
from core import Results, Row, Setup, faster, side_by_side
from maps import SHAPES, Replay, random_maps
from networks import FixedLatents, stylegan2
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.standalone import Scale
from ganfix_plugin.profiling.defective import exceeding, unit_overlap
from ganfix_plugin.profiling.quantiles import UnitHistogram
from ganfix_plugin.profiling.sweep import TAU, Wanted, sweep


class Dissection:
    """netdissect, imported past its __init__, which imports all of it."""

    def __init__(self, checkout: Path):
        sys.dont_write_bytecode = True
        package = types.ModuleType("netdissect")
        package.__path__ = [str(checkout / "netdissect")]
        segmenter = types.ModuleType("netdissect.segmenter")
        segmenter.UnifiedParsingSegmenter = None  # type: ignore[attr-defined]
        sys.modules |= {"netdissect": package, "netdissect.segmenter": segmenter}
        sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            self.code: Any = importlib.import_module("netdissect.dissection")
        self.code.save_state_dict = lambda *_: None
        self.model = importlib.import_module("netdissect.nethook").InstrumentedModel

    def retaining(self, G: nn.Module, names: list[str]) -> Any:
        model = self.model(G)
        model.retain_layers(names)
        return model

    def thresholds(self, model: Any, inputs: Tensor, batch: int) -> dict[str, Tensor]:
        """T_u by layer, by their running quantiles."""
        loader = DataLoader(TensorDataset(inputs), batch_size=batch)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            quantiles, _ = self.code.collect_quantiles_and_topk(folder, model, loader, None, k=1)
        return {name: layer.quantiles([1 - TAU])[:, 0] for name, layer in quantiles.items()}

    def overlap(self, model: Any, levels: dict[str, Tensor], masks: Tensor) -> None:
        """IoU of every unit of the retained layers with the masks of an artifact class."""
        loader = DataLoader(TensorDataset(torch.arange(len(masks))), batch_size=1)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            for name in levels:
                Path(folder, self.code.safe_dir_name(name)).mkdir()
            self.code.collect_bincounts(folder, model, loader, levels, _Masks(masks))


class _Masks:
    """Their `segrunner`: runs the model, and says what is where in its image."""

    def __init__(self, masks: Tensor):
        self.masks = masks

    def get_label_and_category_names(self) -> tuple[list[tuple[str, str]], list[str]]:
        return [("-", "-"), ("artifact", "artifact")], ["-", "artifact"]

    def run_and_segment_batch(self, batch: Any, model: Any, **_: bool) -> tuple[Any, ...]:
        model(batch[0])
        labels = self.masks[batch[0]].long()[:, None]
        counts = torch.stack([(labels == k).flatten(1).sum(1) for k in (0, 1)], dim=1)
        return labels, counts, None, labels.shape[2:]


def measure(setup: Setup) -> Results:
    """Thresholds, IoU, reading and editing feature maps."""
    assert setup.gandissect
    theirs = Dissection(setup.gandissect)
    yield from _generator(theirs, setup)
    yield from _quantiles(theirs, setup)
    yield _overlap(theirs, setup)
    yield _edits(theirs, setup)


class _ByLatent(nn.Module):
    """A StyleGAN2 that is called with z alone, as theirs are."""

    def __init__(self, G: nn.Module):
        super().__init__()
        self.G = G

    def forward(self, z: Tensor) -> Any:
        return self.G(z, z.new_zeros(len(z), 0), noise_mode="const")


def _generator(theirs: Dissection, setup: Setup) -> Results:
    """From latents: their passes go to the image, ours end after the deepest layer."""
    resolution = setup.size(256, 16)
    G, n, batch = stylegan2(resolution, setup.ada), setup.size(4, 2), 4
    generator = Generator.of(G)
    layers = [layer for layer in generator.layers if max(layer.resolution) <= 16]
    layers = [layer for layer in layers if layer in generator.auto]
    z = torch.randn(n, 512)
    model = theirs.retaining(_ByLatent(G).eval(), [f"G.{layer.name}" for layer in layers])
    latents: Any = FixedLatents(z)

    wanted = Wanted(thresholds=layers, samples=n, batch=batch)

    def retained() -> None:
        with torch.no_grad():
            model(z)

    def observed() -> None:
        generator.observe(layers, z, None, lambda layer, x: None)

    turns = side_by_side(
        {
            "theirs": lambda: theirs.thresholds(model, z, batch),
            "ours": lambda: sweep(generator, wanted, latents),
            "retained": retained,
            "observed": observed,
        },
        setup.repeats,
    )
    at = f"StyleGAN2 {resolution}, a latent"
    notes = ("", ", GAN Dissection")
    yield faster(f"feature maps of 3 layers of {at}", turns, "observed", "retained", None, n, notes)
    yield faster(f"unit thresholds of 3 layers of {at}", turns, "ours", "theirs", None, n, notes)


def _quantiles(theirs: Dissection, setup: Setup) -> Results:
    """The quantiles alone, and how many activations really exceed each threshold."""
    n, batch = setup.size(128, 8), 32
    maps = random_maps(n, SHAPES[1:])
    replay = Replay(*maps)
    model = theirs.retaining(replay, replay.names)
    levels: dict[str, list[Tensor]] = {}

    def by_them() -> None:
        levels["theirs"] = list(theirs.thresholds(model, torch.arange(n), batch).values())

    def by_us() -> None:
        histograms = [UnitHistogram(x.shape[1]) for x in maps]
        for histogram, x in zip(histograms, maps):
            for rows in x.split(batch):
                histogram.add(rows)
        levels["ours"] = [histogram.above(TAU) for histogram in histograms]

    turns = side_by_side({"theirs": by_them, "ours": by_us}, setup.repeats)
    what = "… the quantiles alone, a sample of 512×8×8 and 512×16×16"
    yield faster(what, turns, "ours", "theirs", None, n, ("", ", GAN Dissection"))
    errors = {}
    for who, own in levels.items():
        shares = [_share_above(x, level) for x, level in zip(maps, own)]
        errors[who] = max(float((share - TAU).abs().max()) for share in shares)
    yield Row(
        f"… share of activations above a threshold for {TAU:.1%}, largest error",
        f"{errors['ours']:.2%}",
        f"{errors['theirs']:.2%}, GAN Dissection",
        f"{errors['theirs'] / errors['ours']:.1f}×",
    )


def _share_above(x: Tensor, level: Tensor) -> Tensor:
    return (x > level.view(-1, 1, 1)).double().mean(dim=(0, 2, 3))


def _overlap(theirs: Dissection, setup: Setup) -> Row:
    """IoU of 1024 units with a mask of 256×256. They threshold after upsampling, we before it as
    [T21] (Tousi et al., CVPR 2021) does, so that scores differ; the work is the same."""
    n, side = setup.size(2, 1), setup.size(256, 32)
    maps = random_maps(n, SHAPES[1:])
    replay = Replay(*maps)
    model = theirs.retaining(replay, replay.names)
    levels = {name: torch.full((512,), 2.5) for name in replay.names}
    masks = torch.zeros(n, side, side, dtype=torch.bool)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = True

    def by_us() -> None:
        for name, x in zip(replay.names, maps):
            unit_overlap(exceeding(x, levels[name]), masks).sum(dim=0)

    works = {"theirs": lambda: theirs.overlap(model, levels, masks), "ours": by_us}
    turns = side_by_side(works, setup.repeats)
    what = f"IoU of 1024 units with a mask of {side}×{side} (DS), an artifact"
    return faster(what, turns, "ours", "theirs", None, n, ("", ", GAN Dissection"))


def _edits(theirs: Dissection, setup: Setup) -> Row:
    """Zero 20 units of three layers: their edited layers and our attachment, around layers that
    do nothing; the outputs are equal."""
    replay, factor = Replay(*random_maps(4)), torch.ones(512)
    factor[:20] = 0
    plain = {layer: Scale(factor) for layer in replay.numbered()}
    entry = replay.numbered()[0]

    def by_us() -> list[Tensor]:
        return replay()  # type: ignore[no-any-return]

    with Attachment(replay, [Correction("units", entry, plain)]):
        expected = by_us()
    other = Replay(*replay.maps)
    model = theirs.model(other)
    for name in other.names:
        model.edit_layer(name, ablation=1 - factor)
    assert all(map(torch.equal, expected, model()))
    with Attachment(replay, [Correction("units", entry, plain)]):
        turns = side_by_side({"theirs": model, "ours": by_us}, setup.size(200, 5))
    notes = ("", ", GAN Dissection")
    return faster("zero 20 units of 3 layers, batch 4", turns, "ours", "theirs", notes=notes)
