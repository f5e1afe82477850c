"""examples/pggan_small by itself: what its scripts promise before any corrector comes near them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

PGGAN_SMALL = Path(__file__).parents[1] / "examples" / "pggan_small"


def synthesize(save_dir: Path, *, num: int = 6, batch_size: int = 3, seed: int = 0) -> list[Path]:
    options = dict(num=num, batch_size=batch_size, seed=seed, save_dir=save_dir)
    flags = [f"--{key}={value}" for key, value in options.items()]
    command = [sys.executable, "synthesize.py", "pggan_footwear32", "--save_raw_synthesis=true"]
    subprocess.run([*command, *flags], cwd=PGGAN_SMALL, check=True)
    return sorted((save_dir / f"pggan_footwear32_{num}").glob("*.png"))


def pixels(paths: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in paths]).astype(int)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synthesize(tmp_path_factory.mktemp("synthesis"))


def test_synthesize_names_images_by_index_and_writes_a_page(images: list[Path]) -> None:
    assert [path.name for path in images] == [f"{index:06d}.png" for index in range(6)]
    page = images[0].parents[1] / "pggan_footwear32_6.html"
    assert page.read_text().count("<img ") == 6


def test_images_are_shoes_on_black_rather_than_noise(images: list[Path]) -> None:
    shoes = pixels(images)
    assert shoes[:, :2].mean() < 10
    assert shoes.max(axis=(1, 2, 3)).min() > 150


def test_same_seed_gives_the_same_files(images: list[Path], tmp_path: Path) -> None:
    again = synthesize(tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in images]


def test_another_seed_gives_other_images(images: list[Path], tmp_path: Path) -> None:
    assert np.any(pixels(synthesize(tmp_path, seed=1)) != pixels(images))


def test_batch_size_changes_no_pixel_by_more_than_one_level(
    images: list[Path], tmp_path: Path
) -> None:
    assert np.abs(pixels(synthesize(tmp_path, batch_size=1)) - pixels(images)).max() <= 1


def test_unknown_model_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "synthesize.py", "pggan_gloves32"]
    done = subprocess.run(command, cwd=PGGAN_SMALL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pggan_footwear32" in done.stderr


def test_two_ranks_write_the_images_that_synthesize_writes(
    images: list[Path], tmp_path: Path
) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = ["test.py", "configs/pggan_footwear32_val.py", "--backend=gloo", "--synthesis_num=6"]
    paths = [f"--work_dir={tmp_path}", "--checkpoint=checkpoints/pggan_footwear32.safetensors"]
    subprocess.run([*launch, *script, *paths], cwd=PGGAN_SMALL, check=True)
    files = sorted((tmp_path / "synthesize_results").glob("*.png"))
    assert [path.name for path in files] == [path.name for path in images]
    assert np.abs(pixels(files) - pixels(images)).max() <= 1
    assert (tmp_path / "synthesis_6.html").exists()


def test_a_missing_checkpoint_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "pggan_small"
    shutil.copytree(PGGAN_SMALL, copy, ignore=shutil.ignore_patterns("checkpoints", "work_dirs"))
    command = [sys.executable, "synthesize.py", "pggan_footwear32"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{Path('checkpoints', 'pggan_footwear32.safetensors')}: no such checkpoint"
    ]
    assert not (copy / "work_dirs").exists()
