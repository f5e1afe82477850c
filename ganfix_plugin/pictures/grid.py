"""`ganfix.sheet`: images of a generator beside and below each other, for notebooks and files."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.pictures import sheet as sheets
from ganfix_plugin.pictures.sheet import Band, Row, pictured


def sheet(
    *images: Tensor,
    names: Sequence[str] = (),
    captions: Sequence[object] = (),
    title: str = "",
    size: int | None = None,
) -> Image.Image:
    """Images as one picture, which notebooks show and ``.save("sheet.png")`` writes.

        ganfix.sheet(before, after, names=["before", "after"], captions=seeds)

    Args:
        images: one row for each argument: [N, 1 or 3, H, W] in [-1, 1], as generators return them.
        names: of the rows.
        captions: of the columns, such as seeds.
        title: above all of it.
        size: the side of an image in pixels; by default their own, between 64 and 256.

    Raises:
        GanfixError: on anything else than such images.
    """
    for row in images:
        if row.dim() != 4 or row.shape[1] not in (1, 3):
            raise GanfixError(f"sheet: found {list(row.shape)}, expected images [N, 1 or 3, H, W]")
    named = [*names, *[""] * (len(images) - len(names))]
    rows = [Row(name, "", pictured(row)) for name, row in zip(named, images)]
    side = size or min(max([64, *(row.shape[-1] for row in images)]), 256)
    return sheets.sheet(title, "", [Band("", [str(caption) for caption in captions], rows)], side)
