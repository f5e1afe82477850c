"""Features of real and generated images, and their statistics, shared out over ranks."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dnnlib
import numpy as np
import torch
from torch import Tensor
from torch_utils import misc

FEATURES = {"return_features": True}  # how a detector is asked for features


class ProgressMonitor:
    """Prints a line when a stage is done, if verbose."""

    def __init__(self, tag: str = "", num_items: int | None = None, verbose: bool = False) -> None:
        self.tag, self.num_items, self.verbose = tag, num_items, verbose
        self.start = time.time()

    def update(self, cur_items: int) -> None:
        if self.verbose and cur_items == self.num_items:
            elapsed = dnnlib.util.format_time(time.time() - self.start)
            print(f"{self.tag:<20} items {cur_items:<8} time {elapsed}")

    def sub(self, tag: str, num_items: int | None = None) -> ProgressMonitor:
        return ProgressMonitor(tag, num_items, self.verbose)


@dataclass
class MetricOptions:
    """What a metric works on: generator, data, detector; and which of how many ranks this is."""

    G: Any = None
    G_kwargs: Mapping[str, Any] = field(default_factory=dict)
    dataset_kwargs: dict[str, Any] = field(default_factory=dict)
    num_gpus: int = 1
    rank: int = 0
    device: torch.device | None = None
    progress: ProgressMonitor = field(default_factory=ProgressMonitor)
    cache: bool = True
    detector: str = "detector.pt"

    def __post_init__(self) -> None:
        self.G_kwargs = dnnlib.EasyDict(self.G_kwargs)
        self.dataset_kwargs = dnnlib.EasyDict(self.dataset_kwargs)
        self.device = misc.pick_device(self.rank) if self.device is None else self.device
        if self.rank != 0:
            self.progress = ProgressMonitor()


class FeatureStats:
    """Features of at most `max_items` images, kept, or summed up for mean and covariance."""

    def __init__(
        self,
        capture_all: bool = False,
        capture_mean_cov: bool = False,
        max_items: int | None = None,
    ) -> None:
        self.capture_all, self.capture_mean_cov = capture_all, capture_mean_cov
        self.max_items, self.num_items = max_items, 0
        self._batches: list[np.ndarray] = []
        self._sum: Any = 0.0  # [F] once there are features
        self._outer_sum: Any = 0.0  # [F, F]

    def append(self, features: np.ndarray) -> None:
        """Add features [N, F]; those beyond `max_items` are dropped."""
        if self.max_items is not None:
            features = features[: self.max_items - self.num_items]
        self.num_items += len(features)
        if self.capture_all:
            self._batches.append(features.astype(np.float32))
        if self.capture_mean_cov:
            exact = features.astype(np.float64)
            self._sum = self._sum + exact.sum(axis=0)
            self._outer_sum = self._outer_sum + exact.T @ exact

    def append_torch(self, features: Tensor, num_gpus: int = 1, rank: int = 0) -> None:
        """Add the features of all ranks, interleaved; each rank calls this with as many rows."""
        if num_gpus > 1:
            every = [torch.empty_like(features) for _ in range(num_gpus)]
            torch.distributed.all_gather(every, features.contiguous())
            features = torch.stack(every, dim=1).flatten(0, 1)
        self.append(features.cpu().numpy())

    def get_all(self) -> np.ndarray:
        return np.concatenate(self._batches)

    def get_mean_cov(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self._sum / self.num_items
        return mean, self._outer_sum / self.num_items - np.outer(mean, mean)

    def save(self, path: str) -> None:
        """Write atomically."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex}"
        with open(partial, "wb") as file:
            pickle.dump(self, file)
        os.replace(partial, path)

    @staticmethod
    def load(path: str) -> FeatureStats:
        with open(path, "rb") as file:
            return pickle.load(file)


_detectors: dict[tuple[str, torch.device], Any] = {}


def get_feature_detector(
    url: str,
    device: torch.device | None = None,
    num_gpus: int = 1,
    rank: int = 0,
    verbose: bool = False,
) -> Any:
    """The TorchScript detector of that file: images [N, 3, H, W] in 0..255 to features [N, F].

    `num_gpus` is there for callers used to NVIDIA's; local files need no taking turns."""
    device = device or torch.device("cpu")
    if (url, device) not in _detectors:
        with dnnlib.util.open_url(url, verbose=verbose and rank == 0) as file:
            _detectors[url, device] = torch.jit.load(file, map_location=device).eval()
    return _detectors[url, device]


def _in_colour(images: Tensor) -> Tensor:
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images


def _cache_path(opts: MetricOptions, dataset: Any, detector_url: str, *more: Any) -> str:
    detector = detector_url
    if os.path.isfile(detector_url):
        with open(detector_url, "rb") as file:
            detector = hashlib.sha256(file.read()).hexdigest()
    source = os.stat(opts.dataset_kwargs["path"])
    key = repr((sorted(opts.dataset_kwargs.items()), source.st_mtime_ns, detector, *more))
    name = f"{dataset.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.pkl"
    return dnnlib.make_cache_dir_path("gan-metrics", name)


def compute_feature_stats_for_dataset(
    opts: MetricOptions,
    detector_url: str,
    detector_kwargs: Mapping[str, Any],
    batch_size: int = 64,
    data_loader_kwargs: Mapping[str, Any] | None = None,
    max_items: int | None = None,
    **stats_kwargs: Any,
) -> FeatureStats:
    """Statistics of the real images (the first `max_items`), read from the cache when known."""
    dataset = dnnlib.util.construct_class_by_name(**opts.dataset_kwargs)
    items = min(len(dataset), max_items or len(dataset))
    cached = None
    if opts.cache:
        settings = (sorted(detector_kwargs.items()), sorted(stats_kwargs.items()), items)
        cached = _cache_path(opts, dataset, detector_url, *settings)
        known = torch.tensor(float(os.path.isfile(cached)), device=opts.device)
        if opts.num_gpus > 1:  # rank 0 decides, or ranks would wait for each other in vain
            torch.distributed.broadcast(known, src=0)
        if known.item():
            return FeatureStats.load(cached)
    stats = FeatureStats(max_items=items, **stats_kwargs)
    progress = opts.progress.sub(tag="dataset features", num_items=items)
    detector = get_feature_detector(
        detector_url, opts.device, opts.num_gpus, opts.rank, progress.verbose
    )
    # Every rank takes as many images; those past the end start over and are dropped as surplus.
    rounds = -(-items // opts.num_gpus)
    subset = [(i * opts.num_gpus + opts.rank) % items for i in range(rounds)]
    loader = torch.utils.data.DataLoader(
        dataset, sampler=subset, batch_size=batch_size, **(data_loader_kwargs or {})
    )
    for images, _labels in loader:
        features = detector(_in_colour(images.to(opts.device)), **detector_kwargs)
        stats.append_torch(features, opts.num_gpus, opts.rank)
        progress.update(stats.num_items)
    if cached is not None and opts.rank == 0:
        stats.save(cached)
    return stats


def compute_feature_stats_for_generator(
    opts: MetricOptions,
    detector_url: str,
    detector_kwargs: Mapping[str, Any],
    max_items: int,
    batch_size: int = 64,
    batch_gen: int = 4,
    **stats_kwargs: Any,
) -> FeatureStats:
    """Statistics of `max_items` generated images, from random latents and labels of the data.

    The generator is copied; it makes `batch_gen` images at a time, with its defaults otherwise
    (random noise, psi 1) unless `opts.G_kwargs` says so. Seeds PyTorch and numpy with the rank,
    so two runs draw the same latents."""
    G = misc.frozen_copy(opts.G, opts.device)
    dataset = dnnlib.util.construct_class_by_name(**opts.dataset_kwargs)
    stats = FeatureStats(max_items=max_items, **stats_kwargs)
    progress = opts.progress.sub(tag="generator features", num_items=max_items)
    detector = get_feature_detector(
        detector_url, opts.device, opts.num_gpus, opts.rank, progress.verbose
    )
    # By rank, or all would draw the same; here, so that a full cache or a summary changes nothing.
    torch.manual_seed(opts.rank)
    np.random.seed(opts.rank)
    while stats.num_items < max_items:
        images = []
        for _ in range(batch_size // batch_gen):
            z = torch.randn(batch_gen, G.z_dim, device=opts.device)
            labels = [dataset.get_label(i) for i in np.random.randint(len(dataset), size=batch_gen)]
            c = torch.from_numpy(np.stack(labels)).to(opts.device)
            images.append(misc.to_uint8(G(z=z, c=c, **opts.G_kwargs)))
        features = detector(_in_colour(torch.cat(images)), **detector_kwargs)
        stats.append_torch(features, opts.num_gpus, opts.rank)
        progress.update(stats.num_items)
    return stats


def frechet_distance(
    mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray
) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), Heusel et al. 2017, through symmetric roots."""
    values, vectors = np.linalg.eigh(cov1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    return float(np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross)


def compute_fid(opts: MetricOptions, max_real: int | None, num_gen: int) -> float:
    """Fréchet distance of generated to real images, in the features of `opts.detector`."""
    real = compute_feature_stats_for_dataset(
        opts, opts.detector, FEATURES, max_items=max_real, capture_mean_cov=True
    )
    generated = compute_feature_stats_for_generator(
        opts, opts.detector, FEATURES, max_items=num_gen, capture_mean_cov=True
    )
    return frechet_distance(*real.get_mean_cov(), *generated.get_mean_cov())
