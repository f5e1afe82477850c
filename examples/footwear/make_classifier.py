"""Train the feature extractor: ``python make_classifier.py --data footwear32_train3k.zip``.

The images carry no labels. What stands in for them are clusters of the images themselves (k-means
on their pixels), which fall together with kinds of sandals, sneakers and boots; the classifier
learns to tell them apart under shifts, stretches of contrast and erased patches.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
import torch
from classifier import WEIGHTS, WIDTH, Footwear
from safetensors.torch import save_file
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from ganfix_plugin.features.images import read_images


def clusters(images: Tensor, count: int, seed: int) -> Tensor:
    """int64 [N]: the cluster of each image."""
    pixels = images.flatten(1).double().numpy()
    _, numbers = kmeans2(pixels, count, minit="++", seed=seed)
    return torch.from_numpy(numbers).long()


def augmented(x: Tensor, chance: torch.Generator) -> Tensor:
    """Shifted by up to 2 pixels, brightened or darkened, with a patch erased."""
    dy, dx = torch.randint(-2, 3, (2,), generator=chance).tolist()
    x = x.roll((dy, dx), dims=(2, 3))
    gain = 0.7 + 0.6 * torch.rand(len(x), 1, 1, 1, generator=chance)
    x = ((x + 1) * gain - 1).clamp(-1, 1)
    top, left = torch.randint(0, 24, (2,), generator=chance).tolist()
    x = x.clone()
    x[::2, :, top : top + 8, left : left + 8] = -1
    return x


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--clusters", "count", default=20, show_default=True)
@click.option("--epochs", default=12, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", default=WEIGHTS, show_default=True, type=click.Path(path_type=Path))
def main(data: Path, count: int, epochs: int, seed: int, out: Path) -> None:
    """Train, and write classifier.safetensors."""
    torch.manual_seed(seed)
    chance = torch.Generator().manual_seed(seed)
    images = torch.cat(list(read_images(data)))
    labels = clusters(images, count, seed)
    trunk, head = Footwear(), nn.Linear(WIDTH, count)
    network = nn.Sequential(trunk, nn.Dropout(0.3), head)
    descent = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, epochs)
    for epoch in range(epochs):
        right = 0
        for places in torch.randperm(len(images), generator=chance).split(64):
            x, y = augmented(images[places], chance), labels[places]
            answers = network(x)
            loss = nn.functional.cross_entropy(answers, y, label_smoothing=0.1)
            descent.zero_grad()
            loss.backward()
            descent.step()
            right += int((answers.argmax(dim=1) == y).sum())
        schedule.step()
        click.echo(f"epoch {epoch + 1}: {right / len(images):.1%} right")
    state = trunk.state_dict()
    kept = {k: v.half() if v.dim() > 1 else v for k, v in state.items()}
    how = {"trained": f"{data.name}, {count} clusters, {epochs} epochs, seed {seed}"}
    save_file(kept, f"{out}.writing", how)
    os.replace(f"{out}.writing", out)


if __name__ == "__main__":
    main()
