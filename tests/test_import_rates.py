"""Reading the activation rates that the authors of [C22] publish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from generators import numbered
from torch import nn

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.profiling.profile import Profile
from ganfix_plugin.profiling.rates import count_active, import_rates

SAMPLES = 300
PUBLISHED = (1, 3, 5)


@pytest.fixture(scope="module")
def counts(_pggan: nn.Module) -> dict[str, torch.Tensor]:
    layers = [layer for layer in numbered(_pggan) if layer.index in PUBLISHED]
    return count_active(Generator.of(_pggan), layers, Latents((64,), 0), SAMPLES)


@pytest.fixture
def folder(tmp_path: Path, counts: dict[str, torch.Tensor]) -> Path:
    """Rates of three layers in the authors' format: flat float32, in C·H·W order."""
    for index in PUBLISHED:
        rates = counts[f"layer{index}"].float() / SAMPLES
        np.save(tmp_path / f"rate_layer{index}_shoes_pggan.npy", rates.flatten().numpy())
    return tmp_path


def read(G: nn.Module, folder: Path, samples: int = SAMPLES) -> Profile:
    return import_rates(Generator.of(G), folder, "shoes", "pggan", samples)


def test_the_measured_counts_are_recovered_exactly(pggan, folder, counts) -> None:  # type: ignore[no-untyped-def]
    found = read(pggan, folder).counts
    assert found.keys() == counts.keys()
    for name, count in counts.items():
        assert found[name].dtype == count.dtype
        assert torch.equal(found[name], count)


def test_rates_are_bit_for_bit_those_of_the_files(pggan: nn.Module, folder: Path) -> None:
    profile = read(pggan, folder)
    for layer in numbered(pggan)[1:6:2]:
        rates = np.load(folder / f"rate_layer{layer.index}_shoes_pggan.npy")
        assert np.array_equal(profile.rates(layer).flatten().numpy(), rates)


def test_counts_out_of_30_000_survive_float32(pggan: nn.Module, tmp_path: Path) -> None:
    counts = torch.arange(1024, dtype=torch.int32) * 29
    np.save(tmp_path / "rate_layer1_shoes_pggan.npy", (counts.float() / 30_000).numpy())
    found = import_rates(Generator.of(pggan), tmp_path, "shoes", "pggan").counts["layer1"]
    assert torch.equal(found.flatten(), counts)


def test_the_profile_says_whose_it_is_and_where_it_came_from(pggan, folder) -> None:  # type: ignore[no-untyped-def]
    profile = read(pggan, folder)
    assert profile.fingerprint == fingerprint(pggan)
    assert profile.adapter == "genforce-pggan"
    assert profile.settings.samples == SAMPLES
    assert profile.settings.source == f"imported from {folder}"


def test_an_imported_profile_is_saved_and_loaded_like_a_measured_one(pggan, folder) -> None:  # type: ignore[no-untyped-def]
    profile, path = read(pggan, folder), folder / "imported.safetensors"
    profile.save(path)
    again = Profile.load(path)
    assert again.settings == profile.settings
    assert all(torch.equal(again.counts[name], each) for name, each in profile.counts.items())


def test_a_folder_without_such_files_is_refused(pggan: nn.Module, folder: Path) -> None:
    with pytest.raises(GanfixError, match=r"holds no rate_layer\{i\}_cats_pggan.npy of the layers"):
        import_rates(Generator.of(pggan), folder, "cats", "pggan")


def test_rates_of_another_size_of_network_are_refused(pggan: nn.Module, folder: Path) -> None:
    np.save(folder / "rate_layer3_shoes_pggan.npy", np.zeros(32768, np.float32))
    with pytest.raises(GanfixError, match=r"rate_layer3.*found 32768 rates, layer 3 .* has 4096"):
        read(pggan, folder)


def test_another_number_of_samples_than_the_files_is_refused(pggan, folder) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GanfixError, match="no multiples of 1/299; give the number of samples"):
        read(pggan, folder, samples=299)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_that_are_no_rates_are_refused(pggan, folder: Path, value: float) -> None:  # type: ignore[no-untyped-def]
    path = folder / "rate_layer5_shoes_pggan.npy"
    rates = np.load(path)
    rates[7] = value
    np.save(path, rates)
    with pytest.raises(GanfixError, match="rate_layer5.*outside 0 to 1"):
        read(pggan, folder)


def test_whole_numbers_are_refused(pggan: nn.Module, folder: Path) -> None:
    np.save(folder / "rate_layer5_shoes_pggan.npy", np.zeros(8192, np.int64))
    with pytest.raises(GanfixError, match=r"found int64, expected activation rates \(floats\)"):
        read(pggan, folder)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_refused_in_one_line(pggan, folder: Path, content: bytes) -> None:  # type: ignore[no-untyped-def]
    (folder / "rate_layer1_shoes_pggan.npy").write_bytes(content)
    with pytest.raises(GanfixError, match="rate_layer1.*cannot be read as numbers") as error:
        read(pggan, folder)
    assert "\n" not in str(error.value)


def test_pickled_objects_are_never_loaded(pggan: nn.Module, folder: Path) -> None:
    objects = np.array([Path("/")] * 1024, dtype=object)
    np.save(folder / "rate_layer1_shoes_pggan.npy", objects, allow_pickle=True)
    with pytest.raises(GanfixError, match="cannot be read as numbers"):
        read(pggan, folder)
