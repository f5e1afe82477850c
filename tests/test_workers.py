"""Ranks of torchrun measure a part each; the result is that of one process, bit for bit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from generators import dcgan
from prepared import judged, prepare
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, nodes, workers
from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.artifacts.ranking import score_seeds
from ganfix_plugin.artifacts.scores import Scoring, lr
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.nodes import exchanged
from ganfix_plugin.profiling.profile import Profile

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder with a store for each name."""
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "own"))
    yield tmp_path


def ranked(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))


def ganfix_does(words: list[str], folder: Path, *before: str) -> Done:
    """A command about a small generator, with a store of this name."""
    tests = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1", "GANFIX_CACHE": str(folder)}
    # Without the --, torchrun takes --num for the beginning of an option of its own.
    line = [
        "-m",
        *(["--"] if "torch.distributed.run" in before else []),
        "ganfix_plugin",
        *words,
        "--network=generators:dcgan",
        "--device=cpu",
    ]
    return subprocess.run([*before, *line], env=env, capture_output=True, text=True)


def profiled(folder: Path, *before: str, more: tuple[str, ...] = ()) -> Done:
    return ganfix_does(["profile", "--samples=330", "--batch=20", *more], folder, *before)


def test_two_processes_measure_what_one_does_bit_for_bit(tmp_path: Path) -> None:
    one = profiled(tmp_path / "one", sys.executable)
    two = profiled(tmp_path / "two", *TORCHRUN)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    (first,) = (tmp_path / "one" / "profiles").glob("*.safetensors")
    (second,) = (tmp_path / "two" / "profiles").glob("*.safetensors")
    assert first.read_bytes() == second.read_bytes()
    assert two.stdout == one.stdout
    assert two.stderr.count("profile saved") <= 1
    assert not list((tmp_path / "two").rglob("*.parts"))


def kept(folder: Path) -> dict[Path, bytes]:
    """What a store holds, without locks."""
    files = (path for path in folder.rglob("*") if path.suffix in (".safetensors", ".csv"))
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_two_processes_prepare_what_one_does_bit_for_bit(tmp_path: Path) -> None:
    words = ["prepare", "--num=150", "--top=70", "--samples=100", "--extractor=prepared:look"]
    one = ganfix_does(words, tmp_path / "one", sys.executable)
    two = ganfix_does(words, tmp_path / "two", *TORCHRUN)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    first, second = (kept(tmp_path / name) for name in ("one", "two"))
    assert first == second and len(first) == 3  # the profile, the classifier, its labels
    assert two.stdout == one.stdout
    assert not [*(tmp_path / "two").rglob("*.parts"), *(tmp_path / "two").rglob("*.measuring")]


def test_what_is_wrong_in_every_rank_is_said_once(tmp_path: Path) -> None:
    done = profiled(tmp_path, *TORCHRUN, more=("--class=3",))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert said == ["Error: class=3: Sequential has no classes"]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_ranks_that_find_no_room_say_so_and_leave_nothing_half_written(tmp_path: Path) -> None:
    def limited(rank: int) -> Done:
        room = ["bash", "-c", 'ulimit -f 1; exec "$0" "$@"', sys.executable]
        return profiled(tmp_path, "env", f"RANK={rank}", "WORLD_SIZE=2", *room)

    with ThreadPoolExecutor(2) as pool:
        ranks = [*pool.map(limited, range(2))]
    errors = [line for done in ranks for line in done.stderr.splitlines() if "Error" in line]
    assert [done.returncode for done in ranks] == [1, 1]
    assert 1 <= len(errors) <= 2
    assert all("cannot be written: File too large" in line for line in errors)
    assert not [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob(".writing-*")]


def test_a_rank_alone_does_the_parts_of_those_that_never_come(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ganfix.profile(dcgan(), samples=330, batch=20)
    monkeypatch.setenv("GANFIX_CACHE", str(caches / "late"))
    ranked(monkeypatch, 1, 3)
    profile = ganfix.profile(dcgan(), samples=330, batch=20)
    assert all(torch.equal(profile.counts[name], alone.counts[name]) for name in alone.counts)
    assert torch.equal(profile.lr_scores, alone.lr_scores)  # type: ignore[arg-type]
    assert not list(caches.rglob("*.parts"))


def test_more_ranks_than_batches_are_no_problem(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ganfix.profile(dcgan(), samples=30, batch=20)
    monkeypatch.setenv("GANFIX_CACHE", str(caches / "many"))
    ranked(monkeypatch, 0, 5)
    profile = ganfix.profile(dcgan(), samples=30, batch=20)
    assert all(torch.equal(profile.counts[name], alone.counts[name]) for name in alone.counts)
    assert torch.equal(profile.lr_scores, alone.lr_scores)  # type: ignore[arg-type]


def test_scoring_in_ranks_comes_to_the_scores_of_one_process_bit_for_bit(
    pggan: nn.Module, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _, _ = prepare(pggan)
    labels, options = judged(pggan, 60), {"samples": 100, "batch": 4}  # 30 artifacts, 8 batches
    alone, _ = score_units(Generator.of(pggan), labels, head, **options)  # type: ignore[arg-type]
    for rank in range(3):  # the first does everything, the others find it done
        monkeypatch.setenv("GANFIX_CACHE", str(caches / "ranks"))
        ranked(monkeypatch, rank, 3)
        profile, path = score_units(Generator.of(pggan), labels, head, **options)  # type: ignore[arg-type]
        for name, scores in alone.defective.items():
            assert torch.equal(profile.defective[name], scores)
        assert profile.made == alone.made
    assert {file.suffix for file in path.parent.iterdir()} <= {".safetensors", ".lock"}


def test_a_part_that_was_finished_before_a_failure_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def work(part: int, parts: int) -> dict[str, torch.Tensor]:
        if part == 2 and len(done) < 3:
            done.append(part)
            raise MemoryError("no more")
        done.append(part)
        return {"part": torch.tensor([part])}

    ranked(monkeypatch, 0, 3)
    with pytest.raises(MemoryError):
        workers.shared(tmp_path / "parts", work)
    parts = workers.shared(tmp_path / "parts", work)
    assert done == [0, 1, 2, 2]
    assert [int(part["part"]) for part in parts] == [0, 1, 2]


def test_a_rank_that_comes_when_all_is_done_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(part: int, parts: int) -> dict[str, torch.Tensor]:
        raise AssertionError("there is nothing to do")

    ranked(monkeypatch, 1, 2)
    assert workers.shared(tmp_path / "parts", work, lambda: True) == []


def test_a_store_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "file"))
    ranked(monkeypatch, 0, 2)
    with pytest.raises(GanfixError, match="cannot write the profile"):
        ganfix.profile(dcgan(), samples=64)


def test_the_profile_is_that_of_all_latents(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked(monkeypatch, 0, 2)
    profile: Profile = ganfix.profile(dcgan(), samples=330, batch=20)
    assert profile.settings.samples == 330
    assert profile.lr_scores is not None and len(profile.lr_scores) == 330


@pytest.mark.parametrize("total", [1, 2, 7])
def test_numbered_batches_of_all_ranks_are_joined_in_their_order(total: int) -> None:
    def of_part(part: int, parts: int) -> workers.Tensors:
        batches = [
            {"one": torch.tensor([number]), "two": torch.tensor([[-number, number]])}
            for number in range(part, total, parts)
        ]
        return workers.numbered(batches, part, parts)

    parts = [of_part(part, 3) for part in range(3)]
    assert workers.joined(parts, "one").tolist() == list(range(total))
    assert workers.joined(parts, "two").tolist() == [[-n, n] for n in range(total)]


def test_a_killed_rank_leaves_its_part_to_the_others(tmp_path: Path) -> None:
    script = """
import os, pathlib, signal, sys, torch
from ganfix_plugin import workers
def work(part, parts):
    print("working", part, flush=True)
    if os.environ["RANK"] == "1":
        signal.pause()
    return {"part": torch.tensor([part])}
parts = workers.shared(pathlib.Path(sys.argv[1]), work)
print([int(part["part"]) for part in parts])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "parts")]

    def start(rank: int) -> subprocess.Popen[str]:
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

    with start(1) as second:
        assert second.stdout and second.stdout.readline() == "working 1\n"
        with start(0) as first:
            assert first.stdout and first.stdout.readline() == "working 0\n"
            second.kill()
            assert first.stdout.read() == "working 1\n[0, 1]\n"


def on_two_machines(tmp_path: Path, ranks: int) -> list[Done]:
    """`ganfix profile` by as many ranks on each of two machines, which share no folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
    torchrun += [f"--nproc-per-node={ranks}", f"--master-port={port}", "--master-addr=127.0.0.1"]
    lines = [[*torchrun, f"--node-rank={node}"] for node in range(2)]
    with ThreadPoolExecutor() as machines:
        names = [tmp_path / f"{ranks}-{node}" for node in range(2)]
        return list(machines.map(lambda name, line: profiled(name, *line), names, lines))


@pytest.mark.parametrize("ranks", [1, 2])
def test_machines_without_a_common_folder_measure_what_one_process_does(
    tmp_path: Path, ranks: int
) -> None:
    profiled(tmp_path / "one", sys.executable)
    done = on_two_machines(tmp_path, ranks)
    assert [machine.returncode for machine in done] == [0, 0], done
    first, *others = [path.read_bytes() for path in tmp_path.rglob("*.safetensors")]
    assert len(others) == 2 and all(other == first for other in others)
    assert not list(tmp_path.rglob("*.parts")) and not list(tmp_path.rglob("meeting-*"))


def test_between_machines_each_rank_makes_its_own_part_and_takes_the_others() -> None:
    store, made = torch.distributed.HashStore(), dict[int, list[int]]()

    def rank(own: int) -> list[workers.Tensors]:
        def of_part(part: int) -> workers.Tensors:
            made.setdefault(own, []).append(part)
            return {"part": torch.full((3_000_000,), part)}  # more than the store takes at once

        return exchanged(store, "work", of_part, own, 3)

    with ThreadPoolExecutor() as ranks:
        for parts in ranks.map(rank, range(3)):
            assert [int(part["part"][-1]) for part in parts] == [0, 1, 2]
    assert made == {0: [0], 1: [1], 2: [2]}


def test_the_part_of_a_machine_that_is_lost_is_made_by_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.1)
    parts = exchanged(
        torch.distributed.HashStore(), "work", lambda part: {"part": torch.tensor(part)}, 1, 2
    )
    assert [int(part["part"]) for part in parts] == [0, 1]


def test_seeds_are_ranked_in_ranks_as_in_one_process(
    pggan: nn.Module, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator.of(pggan)
    score = lr(generator, Scoring(samples=100))
    alone = score_seeds(generator, score, range(5, 105))
    for rank in (1, 0):
        ranked(monkeypatch, rank, 2)
        assert torch.equal(score_seeds(generator, score, range(5, 105)), alone)
    assert not list(caches.rglob("*.parts"))


@pytest.mark.parametrize("total", [0, 1, 7, 12])
def test_rows_of_batches_dealt_in_turn_come_back_in_their_order(total: int) -> None:
    rows, size = torch.arange(total), 3
    batches = rows.split(size)
    parts = [torch.cat([rows[:0], *batches[part::2]]) for part in range(2)]
    assert workers.in_turn(parts, size).tolist() == rows.tolist()
