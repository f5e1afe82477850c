"""Profiles are measured once, kept by fingerprint, and never left broken."""

from __future__ import annotations

import copy
import ctypes
import json
import logging
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from generators import dcgan
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import fingerprint
from ganfix_plugin.profiling.profile import Profile

SLOW = """
import json, logging, sys, time
sys.path.insert(0, {tests!r})
import torch
from generators import dcgan
import ganfix_plugin as ganfix

class Slow(torch.nn.ReLU):
    def forward(self, x):
        time.sleep({pause})
        return super().forward(x)

logging.basicConfig(level=logging.INFO, format="%(message)s")
G = dcgan()
G[1] = Slow(inplace=True)
profile = ganfix.profile(G, samples=320, scores=False)
print(json.dumps({{name: count.sum().item() for name, count in profile.counts.items()}}))
"""


def slow_process(pause: float) -> subprocess.Popen[str]:
    """A process that profiles `dcgan()`, in ten batches with a pause in each."""
    code = SLOW.format(tests=str(Path(__file__).parent), pause=pause)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **pipes)


def profiled(G: nn.Module, **options: object) -> Profile:
    return ganfix.profile(G, samples=320, scores=False, **options)


def files(cache: Path) -> list[Path]:
    """Everything in the store, without lock files."""
    found = (path for path in cache.rglob("*") if path.is_file())
    return sorted(path for path in found if path.suffix != ".lock")


def one_line(error: pytest.ExceptionInfo[GanfixError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@contextmanager
def permission_bits_count() -> Iterator[None]:
    """Root passes every permission; without its capabilities, and as anybody else, it does not."""
    libc = ctypes.CDLL(None)
    header, kept = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, kept) == 0
    none_effective = (ctypes.c_uint32 * 6)(0, *kept[1:3], 0, *kept[4:])
    assert libc.capset(header, none_effective) == 0
    try:
        yield
    finally:
        assert libc.capset(header, kept) == 0


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_a_profile_is_measured_once(own_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ganfix"):
        first = profiled(dcgan())
        (path,) = files(own_cache)
        assert f"profile saved to {path}" in caplog.text
        caplog.clear()
        second = profiled(dcgan())
    assert not caplog.text
    assert all(torch.equal(second.counts[name], first.counts[name]) for name in first.counts)
    assert second.settings == first.settings


def test_the_file_is_named_by_fingerprint_adapter_and_settings(own_cache: Path) -> None:
    mark = fingerprint(dcgan())[:16]
    ganfix.profile(dcgan(), samples=20, seed=7, scores=False)
    assert files(own_cache) == [own_cache / "profiles" / f"{mark}-dcgan-n20-s7.safetensors"]


def test_each_setting_has_a_file_of_its_own(own_cache: Path, build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=2)
    for options in ({}, {"seed": 1}, {"samples": 9}, {"class_index": 0}, {"class_index": 1}):
        ganfix.profile(G, **{"samples": 8, "layers": "0", "scores": False, **options})
    endings = sorted(path.stem.split("-", 3)[-1] for path in files(own_cache))
    assert endings == ["n8-s0", "n8-s0-class0", "n8-s0-class1", "n8-s1", "n9-s0"]


def test_a_profile_file_says_where_it_came_from(own_cache: Path) -> None:
    profiled(dcgan())
    profile = Profile.load(files(own_cache)[0])
    assert profile.fingerprint == fingerprint(dcgan())
    assert (profile.generator, profile.adapter) == ("Sequential", "dcgan")
    assert (profile.settings.samples, profile.settings.seed) == (320, 0)
    assert profile.version == ganfix.__version__


def test_layers_asked_for_later_are_added(
    own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = profiled(dcgan(), layers="0")
    with caplog.at_level(logging.INFO, "ganfix"):
        both = profiled(dcgan(), layers="all")
    assert "320 latents, layers 1" in caplog.text
    assert list(both.counts) == ["1", "4"] and torch.equal(both.counts["1"], first.counts["1"])
    assert list(Profile.load(*files(own_cache)).counts) == ["1", "4"]


def test_scores_asked_for_later_are_added(own_cache: Path) -> None:
    assert profiled(dcgan()).lr_scores is None
    profile = ganfix.profile(dcgan(), samples=320)
    assert profile.lr_scores is not None and len(profile.lr_scores) == 320
    assert torch.equal(profile.lr_scores, profile.lr_scores.sort().values)
    assert len(files(own_cache)) == 1


def test_scores_over_other_layers_are_not_taken_for_the_same(own_cache: Path) -> None:
    G = dcgan()
    with torch.no_grad():
        G[0].bias -= 0.3  # so that some neurons are rarely active
        G[3].bias -= 0.05

    def scores(*layers: str) -> Tensor:
        found = ganfix.profile(G, layers=layers, samples=50).lr_scores
        assert found is not None
        return found

    one, both = scores("1"), scores("1", "4")
    assert one.any() and both.sum() > one.sum()
    assert torch.equal(scores("1"), one)


def test_the_fingerprint_is_that_of_copies_and_reloaded_pickles(
    stylegan2: nn.Module, network_pickle: Path
) -> None:
    import legacy

    mark = fingerprint(stylegan2)
    assert len(mark) == 64
    assert fingerprint(copy.deepcopy(stylegan2)) == mark
    assert fingerprint(pickle.loads(pickle.dumps(stylegan2))) == mark
    with network_pickle.open("rb") as file:
        assert fingerprint(legacy.load_network_pkl(file)["G_ema"]) == mark


def test_the_fingerprint_changes_with_a_weight_or_noise_but_not_with_an_average(
    stylegan2: nn.Module,
) -> None:
    mark = fingerprint(stylegan2)
    for name, expected in {
        "mapping.w_avg": True,
        "mapping.fc0.weight": False,
        "synthesis.b8.conv0.noise_const": False,
    }.items():
        G = copy.deepcopy(stylegan2)
        G.state_dict()[name].view(-1)[0] += 1
        assert (fingerprint(G) == mark) is expected, name


def test_hooks_and_gradients_do_not_change_the_fingerprint(face: nn.Module) -> None:
    mark = fingerprint(face)
    with ganfix.attach(face, "random"):
        assert fingerprint(face) == mark
    assert fingerprint(copy.deepcopy(face).requires_grad_(True)) == mark


def test_a_profile_file_can_be_given(own_cache: Path, tmp_path: Path) -> None:
    profiled(dcgan())
    path = tmp_path / "mine.safetensors"
    files(own_cache)[0].rename(path)
    with ganfix.attach(dcgan(), f"seqabl:lowest=30%,profile={path}") as attachment:
        assert f"profile={path}" in attachment.summary()
    assert not files(own_cache)


def test_the_profile_of_another_generator_is_refused(own_cache: Path) -> None:
    profiled(dcgan())
    (path,) = files(own_cache)
    with pytest.raises(GanfixError, match="is of another generator") as error:
        ganfix.attach(dcgan(seed=1), f"seqabl:profile={path}")
    for mark in (fingerprint(dcgan()), fingerprint(dcgan(seed=1))):
        assert mark[:16] in one_line(error)


def test_a_given_profile_must_hold_what_is_asked_of_it(own_cache: Path) -> None:
    profiled(dcgan(), layers="0")
    (path,) = files(own_cache)
    with pytest.raises(GanfixError, match=r"layer 1 \(4, 8×8×8\) was not measured; measured are 1"):
        ganfix.attach(dcgan(), f"seqabl:profile={path}")
    with pytest.raises(GanfixError, match=r"holds no LR scores over 1, 4 for gate=lr:…%"):
        ganfix.attach(dcgan(), f"random:profile={path},gate=lr:50%")


def test_a_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match=r"gone.safetensors: no such file"):
        ganfix.attach(dcgan(), f"seqabl:profile={tmp_path}/gone.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.99, -1])
def test_a_truncated_profile_is_refused_in_one_line(own_cache: Path, kept: float) -> None:
    profiled(dcgan())
    (path,) = files(own_cache)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    damaged = path.read_bytes()
    with pytest.raises(GanfixError, match="damaged or no ganfix profile") as error:
        profiled(dcgan())
    assert str(path) in one_line(error) and "delete it" in one_line(error)
    assert path.read_bytes() == damaged


def corrupt_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{", b"[", 1))


def other_content(path: Path) -> None:
    path.write_bytes(b"not a tensor file at all, but long enough to be read as one")


def other_tensors(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def unreadable_origin(path: Path) -> None:
    save_file(load_file(path), path, metadata={"ganfix-profile-1": json.dumps({"settings": 1})})


@pytest.mark.parametrize(
    "damage", [corrupt_header, other_content, other_tensors, unreadable_origin]
)
def test_a_file_that_is_no_profile_is_refused_in_one_line(
    own_cache: Path, damage: Callable[[Path], None]
) -> None:
    profiled(dcgan())
    (path,) = files(own_cache)
    damage(path)
    with pytest.raises(GanfixError, match="damaged or no ganfix profile") as error:
        profiled(dcgan())
    one_line(error)


def test_a_failure_while_measuring_leaves_no_file_and_no_lock(own_cache: Path) -> None:
    class Failing(nn.ReLU):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Failing.calls += 1
            if Failing.calls == 5:
                raise MemoryError("no more")
            return super().forward(x)

    G = dcgan()
    G[1] = Failing(inplace=True)
    with pytest.raises(MemoryError):
        profiled(G)
    assert not files(own_cache)
    assert profiled(G).counts


def test_a_profile_that_cannot_be_written_leaves_nothing(own_cache: Path, tmp_path: Path) -> None:
    profile = profiled(dcgan())
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(GanfixError, match="profile .* cannot be written"):
        profile.save(tmp_path / "file" / "profile.safetensors")
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(GanfixError, match="profile .* cannot be written"):
        profile.save(taken)
    assert list(taken.iterdir()) == [] and not list(tmp_path.glob(".writing-*"))


@pytest.mark.slow
def test_a_killed_profiling_leaves_no_broken_file_and_starts_again(own_cache: Path) -> None:
    process = slow_process(pause=1)
    assert process.stderr is not None
    assert "measuring activation rates" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not files(own_cache)
    assert profiled(dcgan()).counts
    assert len(files(own_cache)) == 1


@pytest.mark.slow
def test_two_processes_at_once_both_succeed_and_measure_once(own_cache: Path) -> None:
    processes = [slow_process(pause=0.15) for _ in range(2)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert results[0][0] == results[1][0] and json.loads(results[0][0])
    logs = [log for _, log in results]
    assert sorted("measuring activation rates" in log for log in logs) == [False, True]
    assert len(files(own_cache)) == 1


def test_a_cache_below_a_regular_file_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.INFO, "ganfix"), pytest.raises(GanfixError) as error:
        profiled(dcgan())
    assert "cannot write the profile to" in one_line(error)
    assert "set GANFIX_CACHE to a folder that can be written" in one_line(error)
    assert "measuring" not in caplog.text


@pytest.mark.parametrize("bits", [0o555, 0o000])
def test_a_read_only_cache_is_refused_before_measuring(
    own_cache: Path, bits: int, caplog: pytest.LogCaptureFixture
) -> None:
    (own_cache / "profiles").mkdir(parents=True)
    caplog.set_level(logging.INFO, "ganfix")
    refused = pytest.raises(GanfixError, match="cannot write the profile .*Permission denied")
    with mode(own_cache / "profiles", bits), permission_bits_count(), refused as error:
        profiled(dcgan())
    one_line(error)
    assert "measuring" not in caplog.text
    assert not files(own_cache)


def test_what_a_read_only_cache_holds_can_be_used(own_cache: Path) -> None:
    expected = profiled(dcgan())
    with mode(own_cache / "profiles", 0o555), permission_bits_count():
        found = profiled(dcgan())
    assert torch.equal(found.counts["1"], expected.counts["1"])


def test_the_store_is_in_the_users_cache_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANFIX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    profiled(dcgan())
    assert len(files(tmp_path)) == 1
