"""FID of a unit beside `scipy.linalg.sqrtm`, as the usual FID codes compute it.

The real side stays and the generated one changes from unit to unit ([B19]: Bau et al.,
GAN Dissection, ICLR 2019). Once for all units, and outside of the time per unit, ganfix takes the
axes of the real covariance and turns all features into them; the row on that gives the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from core import Results, Row, Setup, Turns, duration, faster, side_by_side
from torch import Tensor

from ganfix_plugin.features.frechet import Gaussian

Moments = tuple[np.ndarray, np.ndarray]


def by_sqrtm(real: Gaussian, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The textbook formula."""
    mine, other = real.mean.numpy(), real.covariance.numpy()
    root = scipy.linalg.sqrtm(other @ covariance)
    return float(((mine - mean) ** 2).sum() + np.trace(other + covariance - 2 * np.real(root)))


def moments(features: Tensor) -> Moments:
    x = features.numpy()
    return x.mean(axis=0), np.cov(x, rowvar=False)


def drawing(width: int) -> Callable[[int], Tensor]:
    """A source of correlated features [n, width], float64, that are not normal."""
    chance = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=chance, dtype=torch.float64) / width**0.5

    def draw(n: int) -> Tensor:
        x = torch.randn(n, width, generator=chance, dtype=torch.float64)
        return (x @ mixing).clamp(min=-0.5)

    return draw


def measure(setup: Setup) -> Results:
    """2048 features, as Inception's; of more images than that, and of fewer."""
    width, many, few = setup.size(2048, 64), setup.size(10_000, 200), setup.size(500, 20)
    draw = drawing(width)
    real = Gaussian.of(draw(2 * width))
    _ = real.root
    features = draw(many * 6 // 5)
    start = time.process_time()
    distance = real.resampled(features)
    shared = duration(time.process_time() - start)
    errors = []
    for n in (many, few):
        chosen = torch.zeros(len(features)).index_fill(0, torch.randperm(len(features))[:n], 1)
        distances: dict[str, float] = {}
        turns = timed(real, features[chosen > 0], lambda: distance(chosen), distances, setup)
        what = f"FID of a unit, {n} images, d = {width}"
        notes = ("", ", scipy")
        yield faster(what, turns, "ours", "scipy", 7, notes=notes)
        if n == many:
            yield faster(
                "… both covariances given", turns, "ours, both given", "sqrtm", 7, notes=notes
            )
            yield Row(f"… once for all units, {len(features)} images", shared, "")
        errors += [
            abs(distances[way] / distances["sqrtm"] - 1) for way in ("ours", "ours, both given")
        ]
    worst = max(errors)
    yield Row("… largest relative error", f"{worst:.1e}", "scipy", "", "≤ 1e-6", worst <= 1e-6)


def timed(
    real: Gaussian, x: Tensor, ours: Callable[[], float], distances: dict[str, float], setup: Setup
) -> Turns:
    """Turns of ours and of scipy's, of which the latter is a covariance and a root."""
    theirs, gaussian = moments(x), Gaussian.of(x)

    def keep(name: str, work: Callable[[], float]) -> Callable[[], None]:
        def run() -> None:
            distances[name] = work()

        return run

    turns = side_by_side(
        {
            "covariance": lambda: moments(x),
            "sqrtm": keep("sqrtm", lambda: by_sqrtm(real, *theirs)),
            "ours, both given": keep("ours, both given", lambda: real.distance(gaussian)),
            "ours": keep("ours", ours),
        },
        min(setup.repeats, 2 if len(x) > x.shape[1] else 1),
        warm=0,
    )
    both = [sum(pair) for pair in zip(turns.seconds["covariance"], turns.seconds["sqrtm"])]
    return Turns({**turns.seconds, "scipy": both})
