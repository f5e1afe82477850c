"""Files are written whole or not at all, whoever else writes them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from ganfix_plugin import GanfixError
from ganfix_plugin.files import (
    cache_folder,
    reading,
    ready,
    save_tensors,
    write_text,
    written,
)
from ganfix_plugin.labels import ARTIFACT, Label, Labels, read, write


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("before")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_fails_half_way_is_not_written(target: Path) -> None:
    with pytest.raises(ZeroDivisionError), written(target) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert target.read_text() == "before" and names(target.parent) == ["a.csv"]


def test_an_error_of_the_system_is_one_line_that_says_what_and_why(target: Path) -> None:
    with (
        pytest.raises(GanfixError, match=r"^profile .*a\.csv: cannot be written: No space left$"),
        written(target, "profile"),
    ):
        raise OSError(28, "No space left")
    assert target.read_text() == "before" and names(target.parent) == ["a.csv"]


@pytest.mark.parametrize("threads", [True, False])
def test_writers_of_one_file_never_tear_it(tmp_path: Path, threads: bool) -> None:
    path, tries = tmp_path / "labels.csv", 40
    both = [
        Labels("f" * 64, tuple(Label(seed, ARTIFACT, rater) for seed in range(size)))
        for rater, size in (("ann", 20), ("bob", 300))
    ]
    write(both[0], path)

    def write_often(labels: Labels) -> None:
        for _ in range(tries):
            write(labels, path)

    if threads:
        writers = [threading.Thread(target=write_often, args=(labels,)) for labels in both]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            assert read(path) in both
    else:
        children = []
        for labels in both:
            children.append(os.fork())
            if not children[-1]:
                write_often(labels)
                os._exit(0)
        for _ in range(tries):
            assert read(path) in both
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert read(path) in both and names(tmp_path) == ["labels.csv"]


def test_a_link_under_the_temporary_name_is_not_followed(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    with written(target) as temporary:
        pass
    target.write_text("before")
    precious = target.with_name("precious")
    precious.write_text("precious")
    temporary.symlink_to(precious)
    with pytest.raises(GanfixError, match=r"a\.csv: cannot be written: File exists"):
        write_text(target, "new")
    assert (target.read_text(), precious.read_text()) == ("before", "precious")
    assert temporary.is_symlink()  # somebody else's


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_who_may_read_a_file_goes_by_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "")
        save_tensors(tmp_path / "tensors", {"a": torch.zeros(3)})
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def killed_writer(path: Path) -> Path:
    """What a process leaves that is killed while it writes."""
    script = (
        "import os, pathlib, signal, sys\n"
        "from ganfix_plugin.files import written\n"
        "with written(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = set(path.parent.iterdir())
    subprocess.run([sys.executable, "-c", script, str(path)])
    (leftover,) = set(path.parent.iterdir()) - before
    return leftover


@pytest.mark.slow
def test_the_next_writer_removes_what_a_killed_one_left(target: Path) -> None:
    leftover = killed_writer(target)
    write_text(target.with_name("another-a.csv"), "")
    assert leftover.exists()  # it may be needed, for all that another file's writer knows
    write_text(target, "after")
    assert names(target.parent) == ["a.csv", "another-a.csv"] and target.read_text() == "after"


@pytest.mark.slow
def test_what_another_machine_is_writing_is_left_alone_for_a_day(target: Path) -> None:
    left_here = killed_writer(target)
    leftover = left_here.rename(target.with_name(left_here.name.replace("-", "-0", 1)))
    write_text(target, "after")
    assert leftover.exists()
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(leftover, (two_days_ago, two_days_ago))
    write_text(target, "later")
    assert names(target.parent) == ["a.csv"]


def test_a_file_that_another_thread_writes_is_left_alone(target: Path) -> None:
    with written(target) as slow:
        slow.write_text("slow")
        write_text(target, "quick")
        assert target.read_text() == "quick"
    assert target.read_text() == "slow" and names(target.parent) == ["a.csv"]


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanfixError, match="cannot be made"):
        ready(tmp_path / "file" / "a.png")
    with pytest.raises(GanfixError, match="is a folder"):
        ready(tmp_path)


def test_the_cache_folder_may_be_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("GANFIX_CACHE", "~/kept")
    assert cache_folder() == Path("/home/ann/kept")


def test_tensors_come_back_with_what_is_said_about_them(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3), "b": torch.zeros(2, 2, dtype=torch.float64)}
    save_tensors(tmp_path / "file", tensors, {"format-1": json.dumps({"seed": 3})})
    with reading(tmp_path / "file", "map", "format-1") as (about, loaded):
        assert about == {"seed": 3}
        assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_what_is_no_file_of_ours_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    options = {"how_to_make": "; draw it", "remedy": "; draw it again"}
    with (
        pytest.raises(GanfixError, match="^map .*file: no such file; draw it$"),
        reading(path, "map", "format-1", **options),
    ):
        pass
    save_tensors(path, {"a": torch.zeros(1)})
    damaged = r"^map .*: damaged or no ganfix map \('format-1'\); draw it again$"
    with pytest.raises(GanfixError, match=damaged), reading(path, "map", "format-1", **options):
        pass
