"""`ganfix latents`: files of corrected latents, whose images are those of a corrected script."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import hooks, images
from prepared import error, judged, run
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import keep
from ganfix_plugin.moved_latents import save_latents

pytestmark = pytest.mark.slow

SEEDS = range(24)
SPEC = "samples=300"


@pytest.fixture(autouse=True)
def _own(own_cache: Path) -> None:
    """Labels in the store are of one test only."""


def z_of(G: nn.Module, seeds: Sequence[int] = SEEDS) -> Tensor:
    return latents_of(list(seeds), Generator.of(G).latent_shape)


def changed(first: Tensor, second: Tensor) -> list[bool]:
    return (first != second).flatten(1).any(dim=1).tolist()


@pytest.mark.parametrize("spec", ["steer", "boundary"])
def test_images_of_corrected_ws_are_those_of_the_corrected_generator(
    stylegan2: nn.Module, spec: str
) -> None:
    G, spec = stylegan2, f"{spec}:{SPEC}"
    keep(judged(G))
    ws = ganfix.corrected_latents(G, SEEDS, spec, psi=0.8)
    with torch.no_grad():
        rendered = torch.cat([G.synthesis(w[None], noise_mode="const") for w in ws])
        with attach(G, spec):
            seeds = z_of(G).split(1)
            expected = torch.cat(
                [G(z, None, truncation_psi=0.8, noise_mode="const") for z in seeds]
            )
    assert ws.shape == (24, G.num_ws, G.w_dim)
    assert torch.equal(rendered, expected)


def test_latents_that_are_not_flagged_stay_as_they_are(stylegan2: nn.Module) -> None:
    keep(judged(stylegan2))
    spec = f"steer:{SPEC}"
    plain = ganfix.corrected_latents(stylegan2, SEEDS)
    moved = changed(ganfix.corrected_latents(stylegan2, SEEDS, spec), plain)
    with torch.no_grad():
        assert torch.equal(plain[:1], stylegan2.mapping(z_of(stylegan2)[:1], None))
    with attach(stylegan2, spec) as attachment:
        after = torch.cat([images(stylegan2, z) for z in z_of(stylegan2).split(1)])
        assert attachment.counts[0].corrected == sum(moved)
    before = torch.cat([images(stylegan2, z) for z in z_of(stylegan2).split(1)])
    assert moved == changed(after, before) and 0 < sum(moved) < 24


def test_a_generator_without_ws_gives_z_on_its_sphere(face: nn.Module) -> None:
    keep(judged(face))
    z = ganfix.corrected_latents(face, SEEDS, f"steer:{SPEC}")
    assert z.shape == (24, 100, 1, 1)
    torch.testing.assert_close(z.flatten(1).norm(dim=1), z_of(face).flatten(1).norm(dim=1))
    with attach(face, f"steer:{SPEC}"):
        expected = torch.cat([images(face, one) for one in z_of(face).split(1)])
    assert torch.equal(torch.cat([images(face, one) for one in z.split(1)]), expected)


def test_several_corrections_follow_each_other(stylegan2: nn.Module) -> None:
    keep(judged(stylegan2))
    specs = (f"steer:{SPEC}", "truncation:psi=0.5")
    both = ganfix.corrected_latents(stylegan2, SEEDS, *specs)
    steered = ganfix.corrected_latents(stylegan2, SEEDS, specs[0])
    mean = stylegan2.mapping.w_avg
    torch.testing.assert_close(both, mean + 0.5 * (steered - mean))


def test_the_generator_and_the_random_state_stay_as_they_were(stylegan2: nn.Module) -> None:
    keep(judged(stylegan2))
    before, tables = torch.get_rng_state(), hooks(stylegan2)
    ganfix.corrected_latents(stylegan2, [3], f"steer:{SPEC}")
    assert torch.equal(torch.get_rng_state(), before) and hooks(stylegan2) == tables


def test_a_class_is_needed_where_there_are_some(build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=3)
    with pytest.raises(GanfixError, match="has 3 classes; choose one by --class"):
        ganfix.corrected_latents(G, [1])
    ws = ganfix.corrected_latents(G, [1], class_index=2)
    with torch.no_grad():
        expected = G.mapping(z_of(G, [1]), torch.eye(3)[2:])
    assert torch.equal(ws, expected)


@pytest.mark.parametrize("spec", ["seqabl", "units:units=1:2"])
def test_corrections_of_feature_maps_are_refused_before_anything_is_measured(
    stylegan2: nn.Module, spec: str, own_cache: Path
) -> None:
    with pytest.raises(GanfixError, match="corrects feature maps, which no latent can carry"):
        ganfix.corrected_latents(stylegan2, [1], spec)
    assert not (own_cache / "profiles").exists()


def test_a_psi_that_the_generator_does_not_take_is_refused(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="Generator takes no truncation_psi"):
        ganfix.corrected_latents(face, [1], psi=0.5)


def network(stylegan2_pickle: Path) -> list[str]:
    host = Path(__file__).parents[1] / "examples" / "stylegan2_small"
    return [f"--network={stylegan2_pickle}", f"--host={host}", "--device=cpu"]


def test_the_command_writes_what_projected_w_reads(
    stylegan2: nn.Module, network_pickle: Path, tmp_path: Path
) -> None:
    keep(judged(stylegan2))
    line = ["latents", *network(network_pickle), "--seeds=0-5,9", f"--correct=steer:{SPEC}"]
    for name in ("w.npz", "w.npy", "w.pt"):
        done = run(*line, f"--out={tmp_path / name}")
        assert done.exit_code == 0, done.output
    expected = ganfix.corrected_latents(stylegan2, [*range(6), 9], f"steer:{SPEC}")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        assert torch.equal(torch.from_numpy(arrays["w"]), expected)
        assert arrays["seeds"].tolist() == [*range(6), 9]
        assert str(arrays["correct"]).startswith("steer:")
    assert np.array_equal(np.load(tmp_path / "w.npy", allow_pickle=False), expected.numpy())
    assert torch.equal(torch.load(tmp_path / "w.pt", weights_only=True), expected)
    moved = sum(changed(expected, ganfix.corrected_latents(stylegan2, [*range(6), 9])))
    assert f"w [7, 8, 64], {moved} of 7 moved" in done.output


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_files_are_byte_for_byte_those_of_numpy(suffix: str, tmp_path: Path) -> None:
    ws, seeds = torch.randn(5, 3, 4), [7, 8, 9, 11, 12]
    pairs = ((w[None], w[None]) for w in ws)
    save_latents(tmp_path / f"w{suffix}", pairs, 5, "w", seeds, ())
    expected = io.BytesIO()
    if suffix == ".npz":
        about = {"seeds": seeds, "correct": "", "ganfix": ganfix.__version__}
        np.savez(expected, **{"w": ws.numpy(), **about})  # type: ignore[arg-type]
    else:
        np.save(expected, ws.numpy())
    assert (tmp_path / f"w{suffix}").read_bytes() == expected.getvalue()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pt"])
def test_latents_are_written_one_by_one_and_not_kept(
    suffix: str, own_cache: Path, tmp_path: Path
) -> None:
    alive: list[weakref.ref[Tensor]] = []

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(6):
            assert sum(w() is not None for w in alive) <= 2
            plain, moved = torch.zeros(1, 4), torch.full((1, 4), float(number))
            alive.extend([weakref.ref(plain), weakref.ref(moved)])
            yield plain, moved

    saved = save_latents(tmp_path / f"w{suffix}", pairs(), 6, "w", range(6), ())
    assert saved == ((6, 4), 5)


def test_another_ending_is_refused_before_the_network_is_opened(tmp_path: Path) -> None:
    done = run("latents", "--network=missing.pkl", f"--out={tmp_path / 'w.txt'}")
    assert "expected a name that ends in .npz, .npy, .pt" in error(done)
