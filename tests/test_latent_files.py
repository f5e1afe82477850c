"""Lists of latents that users hand in."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from generators import dcgan
from safetensors.torch import save_file
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.artifacts.latent_files import check_latents, read_latents
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import Label, Labels, write

G = dcgan()
SHAPE = (8, 1, 1)


def read(source: object, num: int | None = None) -> Tensor:
    """The latents that a generator gets."""
    generator = Generator.of(G)
    batches = read_latents(str(source), generator, num).batches(generator, 2)
    return torch.cat([z for z, _ in batches])


def labelled(path: Path, mark: str = "") -> Path:
    kinds = {7: "artifact", 3: "normal", 2: "artifact"}
    items = tuple(Label(seed, kind) for seed, kind in kinds.items())
    write(Labels(mark or fingerprint(G), items), path)
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.json"])
def test_of_labels_the_artifacts_are_taken(tmp_path: Path, name: str) -> None:
    assert torch.equal(read(labelled(tmp_path / name)), latents_of([2, 7], SHAPE))


def test_of_a_ranking_the_seeds_are_taken_from_the_top(tmp_path: Path) -> None:
    path = tmp_path / "ranked.csv"
    path.write_text("seed,score,percentile\n9,120,99.5\n4,80,50\n1,3,0.5\n")
    assert torch.equal(read(path), latents_of([9, 4, 1], SHAPE))
    assert torch.equal(read(path, num=2), latents_of([9, 4], SHAPE))
    assert len(read(path, num=100)) == 3


def test_seeds_may_be_written_as_in_the_hosts_scripts() -> None:
    assert torch.equal(read("0-2,7"), latents_of([0, 1, 2, 7], SHAPE))


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
def test_arrays_are_taken_as_they_are(tmp_path: Path, ending: str) -> None:
    z, path = torch.randn(5, *SHAPE), tmp_path / f"z{ending}"
    if ending == ".npy":
        np.save(path, z.double().numpy())
    elif ending == ".npz":
        np.savez(path, z=z.numpy(), other=np.zeros(1))
    else:
        save_file({"latents": z}, path)
    assert torch.equal(read(path, num=3), z[:3])


def test_a_conditional_generator_gets_its_classes_dealt_round(build_stylegan2: object) -> None:
    conditional = Generator.of(build_stylegan2(c_dim=3))  # type: ignore[operator]
    (batch,) = read_latents("0-3", conditional).batches(conditional, 8)
    assert batch[1] is not None and batch[1].argmax(dim=1).tolist() == [0, 1, 2, 0]


def test_memory_does_not_grow_with_the_width_of_latents_of_seeds() -> None:
    wide = Generator.of(
        nn.Sequential(
            nn.ConvTranspose2d(512, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        ).eval()
    )
    tracemalloc.start()
    for z, _ in read_latents("0-9999", wide).batches(wide, 32):
        assert z.shape[1:] == (512, 1, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000 * 512 * 4 / 10


def test_latents_of_another_width_are_refused_with_both(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((5, 512), dtype=np.float32))
    with pytest.raises(
        GanfixError, match=r"found float32 \[5, 512\], expected float \[N, 8, 1, 1\]"
    ):
        read(tmp_path / "z.npy")


def test_labels_of_another_generator_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match="are of another generator"):
        read(labelled(tmp_path / "labels.csv", mark="0" * 64))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "no such file; expected labels"),
        ("9-x", None, "no such file"),
        ("z.pkl", b"x", "unknown ending .pkl"),
        ("z.npy", b"x", "cannot be read"),
        ("z.safetensors", b"x", "cannot be read"),
        ("a.csv", b"id,score\n1,2\n", "found columns id, score, expected one named seed"),
        ("a.csv", b"seed\n1\n-4\n", "row 3: seed is '-4'"),
        ("a.csv", b"seed\n", "found none"),
    ],
)
def test_what_is_no_list_of_latents_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(GanfixError, match=message):
        read(tmp_path / name)


def test_arrays_that_would_have_to_be_unpickled_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(GanfixError, match="cannot be read"):
        read(tmp_path / "z.npy")


def test_latents_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.full((2, *SHAPE), np.nan))
    with pytest.raises(GanfixError, match="NaN"):
        read(tmp_path / "z.npy")


def test_a_missing_list_is_noticed_before_anything_is_loaded() -> None:
    check_latents("0-99")
    with pytest.raises(GanfixError, match="latents nowhere.csv: no such file"):
        check_latents("nowhere.csv")
