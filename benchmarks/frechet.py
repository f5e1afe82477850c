"""The Fréchet distance of one unit beside `scipy.linalg.sqrtm`, as the usual FID codes compute it.

    python benchmarks/frechet.py [--width 2048] [--samples 10000] [--units 3]

Per unit the real side stays and the generated one changes ([B19]): ganfix takes the square root of
the real covariance once, outside of the figures.
"""

from __future__ import annotations

import statistics
import time

import click
import numpy as np
import scipy.linalg
import torch

from ganfix_plugin.metrics.frechet import Gaussian


def by_sqrtm(real: Gaussian, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The textbook formula."""
    mine, other = real.mean.numpy(), real.covariance.numpy()
    root = scipy.linalg.sqrtm(other @ covariance)
    return float(((mine - mean) ** 2).sum() + np.trace(other + covariance - 2 * np.real(root)))


def moments(features: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance."""
    x = features.numpy()
    return x.mean(axis=0), np.cov(x, rowvar=False)


@click.command()
@click.option("--width", default=2048, show_default=True, help="Number of features.")
@click.option("--samples", default=10_000, show_default=True, help="Images per unit.")
@click.option("--few", default=500, show_default=True, help="Images per unit, fewer than features.")
@click.option("--units", default=3, show_default=True, help="Units to time.")
def main(width: int, samples: int, few: int, units: int) -> None:
    """Print time and error per unit, medians of interleaved runs."""
    chance = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=chance, dtype=torch.float64) / width**0.5

    def draw(n: int, shift: float) -> torch.Tensor:
        x = torch.randn(n, width, generator=chance, dtype=torch.float64)
        return (x @ mixing).clamp(min=-0.5) + shift

    real = Gaussian.of(draw(2 * width, 0))
    _ = real.root
    click.echo("| per unit | scipy sqrtm | ganfix | ratio | relative error |")
    click.echo("|---|---|---|---|---|")
    for what, n in (("both covariances given", samples), ("", samples), ("", few)):
        ratios, errors, times = [], [], []
        for unit in range(units):
            x = draw(n, 0.1 * unit)
            given = (moments(x), Gaussian.of(x)) if what else None
            start = time.perf_counter()
            expected = by_sqrtm(real, *(given[0] if given else moments(x)))
            middle = time.perf_counter()
            found = real.distance(given[1]) if given else real.distance_to_samples(x)
            end = time.perf_counter()
            times.append((middle - start, end - middle))
            ratios.append((middle - start) / (end - middle))
            errors.append(abs(found - expected) / abs(expected))
        theirs, ours = (statistics.median(each) for each in zip(*times))
        click.echo(
            f"| {what or f'{n} images'} | {theirs:.2f} s | {ours:.2f} s | "
            f"{statistics.median(ratios):.1f}× | {max(errors):.1e} |"
        )


if __name__ == "__main__":
    main()
