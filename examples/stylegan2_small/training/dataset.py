"""Images from a folder or a zip of PNG files, with labels if there is a dataset.json."""

from __future__ import annotations

import json
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import torch
from dnnlib.util import UserError


class ImageFolderDataset(torch.utils.data.Dataset[Any]):
    """Pairs of an image (uint8, [C, H, W]) and a label (float32, [label_dim], empty if unused).

    `max_size` keeps a fixed random choice of the images, `xflip` appends their mirror images,
    `resolution` is what height and width must be. Labels are class numbers, given as one-hot, or
    vectors. Raises `UserError` when the path, its images or its labels will not do."""

    def __init__(
        self,
        path: str,
        resolution: int | None = None,
        max_size: int | None = None,
        use_labels: bool = False,
        xflip: bool = False,
        random_seed: int = 0,
    ) -> None:
        self._path = Path(path)
        self._use_labels = use_labels
        if self._path.is_dir():
            files = {p.relative_to(path).as_posix() for p in self._path.rglob("*") if p.is_file()}
        elif zipfile.is_zipfile(path):
            files = set(self._zip.namelist())
        else:
            raise UserError(f"{path}: expected a folder or a zip of PNG images")
        self._files = files
        self._images = sorted(name for name in files if name.lower().endswith(".png"))
        if not self._images:
            raise UserError(f"{path}: no PNG images in it")
        self.name = self._path.stem
        self.image_shape = list(self._load_image(0).shape)
        if resolution is not None and self.image_shape[1:] != [resolution, resolution]:
            found = "x".join(map(str, self.image_shape[1:]))
            raise UserError(f"{path}: images are {found}, expected {resolution}x{resolution}")
        chosen = np.arange(len(self._images))
        if max_size is not None and max_size < len(chosen):
            chosen = np.sort(np.random.RandomState(random_seed).permutation(chosen)[:max_size])
        flips = [False, True] if xflip else [False]
        self._items = [(int(i), flip) for flip in flips for i in chosen]

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_zip"}

    def _open(self, name: str) -> BinaryIO | Any:
        return open(self._path / name, "rb") if self._path.is_dir() else self._zip.open(name)

    def _load_image(self, index: int) -> np.ndarray:
        with self._open(self._images[index]) as file:
            pixels = np.array(PIL.Image.open(file))
        return np.atleast_3d(pixels).transpose(2, 0, 1)

    @cached_property
    def _labels(self) -> np.ndarray:
        """[number of images, label_dim], float32, in the order of the files."""
        listed = None
        if self._use_labels and "dataset.json" in self._files:
            with self._open("dataset.json") as file:
                listed = json.load(file)["labels"]
        if listed is None:
            return np.zeros((len(self._images), 0), dtype=np.float32)
        by_name = dict(listed)
        missing = [name for name in self._images if name not in by_name]
        if missing:
            raise UserError(f"{self._path}: dataset.json has no label for {missing[0]}")
        labels = np.array([by_name[name] for name in self._images])
        return (np.eye(labels.max() + 1)[labels] if labels.ndim == 1 else labels).astype(np.float32)

    @property
    def label_dim(self) -> int:
        return self._labels.shape[1]

    def get_label(self, index: int) -> np.ndarray:
        return self._labels[self._items[index][0]].copy()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        raw, flip = self._items[index]
        image = self._load_image(raw)
        if list(image.shape) != self.image_shape:
            raise UserError(
                f"{self._path}: {self._images[raw]} is {list(image.shape)}, the first image is "
                f"{self.image_shape}"
            )
        return (image[:, :, ::-1] if flip else image).copy(), self.get_label(index)
