"""Images as PNG files and as a page to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

PAGE = """<!DOCTYPE html>
<meta charset="utf-8"><title>{title}</title>
<style>
  body {{ font: 12px sans-serif; text-align: center }}
  figure {{ display: inline-block; margin: 4px }}
  img {{ display: block; width: {size}px; image-rendering: pixelated }}
</style>
<h1>{title}</h1>
{cells}
"""
CELL = """<figure>
  <img src="data:image/png;base64,{data}" alt=""><figcaption>{text}</figcaption>
</figure>"""


def to_uint8(images: Tensor) -> np.ndarray:
    """Images [N, C, H, W] in [-1, 1] as [N, H, W, C] in 0..255."""
    levels = ((images.double() + 1) * 127.5).round().clamp(0, 255)
    return levels.permute(0, 2, 3, 1).byte().cpu().numpy()


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write one [H, W, C] image of bytes."""
    Image.fromarray(image).save(path)


def load_image(path: str | Path) -> np.ndarray:
    """Read one image as [H, W, C] bytes."""
    with Image.open(path) as image:
        return np.asarray(image)


def save_page(path: str | Path, images: Sequence[np.ndarray], title: str) -> None:
    """Write an HTML page that holds all `images`, numbered, at least 96 pixels wide."""
    cells = []
    for index, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="png")
        data = base64.b64encode(file.getvalue()).decode()
        cells.append(CELL.format(data=data, text=f"{index:06d}"))
    size = max(96, images[0].shape[1])
    page = PAGE.format(title=title, size=size, cells="\n".join(cells))
    Path(path).write_text(page, encoding="utf-8")
