"""Real images from folders and zips."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganfix_plugin import GanfixError
from ganfix_plugin.features.images import read_images


def pixels(value: int, size: tuple[int, ...] = (8, 8, 3)) -> np.ndarray:
    return np.random.RandomState(value).randint(0, 256, size).astype(np.uint8)


def encoded(array: np.ndarray, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format)
    return out.getvalue()


def filled(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_png", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, the middle one in a folder of its own, and a text."""
    names = {"a_png": 1, "b__x_png": 2, "c_png": 3}
    filled(tmp_path / "real", **{name: encoded(pixels(i)) for name, i in names.items()})
    (tmp_path / "real" / "dataset.json").write_text("{}")
    return tmp_path / "real"


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_all_images_come_by_name_in_minus_one_to_one(folder: Path, packed: bool) -> None:
    images = torch.cat(list(read_images(zipped(folder) if packed else folder)))
    expected = np.stack([pixels(i) for i in (1, 2, 3)]).transpose(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(images, torch.from_numpy(expected).float())
    assert images.dtype == torch.float32


def test_black_is_minus_one_and_white_is_one(tmp_path: Path) -> None:
    array = np.zeros((8, 8, 3), np.uint8)
    array[4:] = 255
    (images,) = read_images(filled(tmp_path, a_png=encoded(array)))
    assert images[:, :, :4].eq(-1).all() and images[:, :, 4:].eq(1).all()


def test_images_come_in_batches(folder: Path) -> None:
    assert [len(images) for images in read_images(folder, batch=2)] == [2, 1]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_colour_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(pixels(1)).convert(mode)
    out = io.BytesIO()
    image.save(out, "PNG")
    (images,) = read_images(filled(tmp_path, a_png=out.getvalue()))
    expected = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)
    torch.testing.assert_close(images[0], expected / 127.5 - 1)


def test_an_image_of_another_size_is_named(folder: Path) -> None:
    filled(folder, d_png=encoded(pixels(4, (16, 16, 3))))
    with pytest.raises(GanfixError, match=f"images {folder}: d.png is 16×16, expected 8×8"):
        list(read_images(folder))


def test_images_must_have_the_size_asked_for(folder: Path) -> None:
    with pytest.raises(GanfixError, match="a.png is 8×8, expected 32×32"):
        list(read_images(folder, 32))


def test_images_must_be_square(tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match="a.png is 12×8, expected a square"):
        list(read_images(filled(tmp_path, a_png=encoded(pixels(1, (8, 12, 3))))))


@pytest.mark.parametrize("keep", [0, 10, 60], ids=["empty", "no image", "cut short"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, keep: int) -> None:
    with pytest.raises(GanfixError, match="a.png cannot be read") as caught:
        list(read_images(filled(tmp_path, a_png=encoded(pixels(1))[:keep])))
    assert "\n" not in str(caught.value)


def test_a_folder_or_zip_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "notes.txt").write_text("no images")
    for path in (tmp_path / "real", zipped(tmp_path / "real")):
        with pytest.raises(GanfixError, match="found none; expected PNG or JPEG files"):
            list(read_images(path))


@pytest.mark.parametrize("times", [1, 2], ids=["at the image", "also in the contents"])
def test_a_zip_whose_names_are_no_text_is_refused(times: int, tmp_path: Path) -> None:
    path = tmp_path / "real.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("é.png", encoded(pixels(1)))
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xf5\xa9", times))
    with pytest.raises(GanfixError, match="cannot be read") as caught:
        list(read_images(path))
    assert "\n" not in str(caught.value)


def test_what_is_neither_folder_nor_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match="neither a folder nor a zip"):
        list(read_images(folder / "a.png"))
    with pytest.raises(GanfixError, match="no such folder or zip"):
        list(read_images(tmp_path / "gone"))


def test_a_choice_is_by_seed_and_keeps_the_order(tmp_path: Path) -> None:
    for value in range(30):
        Image.new("RGB", (4, 4), (value, 0, 0)).save(tmp_path / f"{value:02d}.png")

    def values(seed: int) -> list[int]:
        batches = read_images(tmp_path, num=9, seed=seed)
        return [round(float((x[0, 0, 0] + 1) * 127.5)) for images in batches for x in images]

    assert values(0) == values(0) == sorted(values(0)) != values(1)
    assert len(values(0)) == 9
    with pytest.raises(GanfixError, match="found 30, expected 31; ask for fewer"):
        next(read_images(tmp_path, num=31))
