"""What genforce's test.py writes stays apart and says what was corrected, and by what seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from generators import dcgan
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.features.detector import Detector
from ganfix_plugin.generators.generator import fingerprint
from ganfix_plugin.hosts.flags import MetricOptions
from ganfix_plugin.hosts.genforce import HOST, _any_width, _fid_marked
from ganfix_plugin.hosts.host import Situation
from ganfix_plugin.hosts.launcher import _apart
from ganfix_plugin.hosts.session import Run, Session

SPEC = "seqabl:samples=64,lowest=30%"
DETECTOR = Detector("detectors:by_name", "0123456789abcdef")


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


class Runner:
    """As far as genforce's fid() needs one."""

    def __init__(self, work_dir: Path, G: nn.Module, session: Session, rank: int = 0) -> None:
        self.work_dir, self.rank, self.inception_model = str(work_dir), rank, None
        self.G, self.session, self.logger = G, session, Logger()

    def fid(self, fid_num: int, align_tf: bool = True) -> float:
        self.session.prepare(self.G)  # genforce's generators are corrected when first called
        return 12.5


def session(specs: Sequence[str] = (), detector: Detector | None = None) -> Session:
    situation, metrics = Situation(Path(), "cpu"), MetricOptions(detector)
    return Session(Run(situation, HOST.name, tuple(parse_specs(specs)), metrics))


@pytest.mark.parametrize(
    "line",
    [["--work_dir", "w"], ["--work_dir=w"], ["--work", "w"], ["--w=w"]],
    ids=["two words", "one word", "abbreviated", "abbreviated, one word"],
)
def test_a_corrected_test_works_in_a_folder_of_its_own(line: list[str]) -> None:
    arguments = ["config.py", *line, "--checkpoint", "w"]
    changed = _apart(arguments, HOST.folders["test.py"], session((SPEC,)).run.apart)
    assert " ".join(changed).replace("=", " ").split()[2] == "w/corrected"
    assert changed[0] == "config.py" and changed[-2:] == ["--checkpoint", "w"]


def test_an_ordinary_test_works_where_it_was_told_to() -> None:
    arguments = ["config.py", "--work_dir", "w"]
    assert _apart(arguments, HOST.folders["test.py"], session().run.apart) == arguments


def test_detectors_and_corrections_share_no_folder() -> None:
    sides = [session(specs, detector) for specs in ((), (SPEC,)) for detector in (None, DETECTOR)]
    assert [side.run.apart for side in sides] == [
        "",
        "detector-01234567",
        "corrected",
        "corrected/detector-01234567",
    ]


def test_a_corrected_fid_is_marked_in_the_log_and_kept_in_a_record(tmp_path: Path) -> None:
    ours, G = session((SPEC,)), dcgan()
    runner = Runner(tmp_path, G, ours)
    assert _fid_marked(ours, Runner.fid)(runner, 7, align_tf=False) == 12.5
    record: dict[str, Any] = json.loads((tmp_path / "metric-fid.jsonl").read_text())
    assert record["results"] == {"fid": 12.5} and record["fid_num"] == 7
    assert record["correct"] == "seqabl:samples=64,layers=auto,lowest=30%,side=low,dead=with"
    assert record["profile"].startswith(f"{fingerprint(G)}:samples=64,seed=0")
    assert record["ganfix"] == ganfix.__version__
    (line,) = runner.logger.lines
    assert record["correct"] in line and record["profile"] in line


def test_one_rank_keeps_the_record(tmp_path: Path) -> None:
    ours = session((SPEC,))
    _fid_marked(ours, Runner.fid)(Runner(tmp_path, dcgan(), ours, rank=1), 7)
    assert not list(tmp_path.iterdir())


def test_an_ordinary_fid_is_the_host_s_own(tmp_path: Path) -> None:
    runner = Runner(tmp_path, dcgan(), session())
    assert _fid_marked(session(), Runner.fid)(runner, 7) == 12.5
    assert runner.inception_model is None and not list(tmp_path.iterdir())


def test_a_detector_of_any_width_takes_inception_s_place(tmp_path: Path) -> None:
    ours = session(detector=DETECTOR)
    runner = Runner(tmp_path, dcgan(), ours)
    _fid_marked(ours, Runner.fid)(runner, 7)
    assert "by_name" in json.loads((tmp_path / "metric-fid.jsonl").read_text())["detector"]
    features = _any_width(ours, lambda: None)(runner.inception_model, torch.zeros(5, 3, 8, 8))
    assert features.shape == (5, 3) and (features == 128).all()
