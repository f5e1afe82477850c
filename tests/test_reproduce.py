"""examples/reproduce: the papers' tables and figures, each by one command."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from raters import SPEC
from torch import nn

from examples import EXAMPLES, importing
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.generators.generator import fingerprint
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, write
from ganfix_plugin.web.answers import Answers

pytestmark = pytest.mark.slow

Run = Callable[..., Result]

FEW = ["--generations=200", "--latents=60"]
REAL = [*FEW, "--num-real=100"]
LEARN = [*REAL, "--artifacts=20", "--num-labels=30"]
UNITS = ["--unit-generations=40", "--unit-top=10"]
TINY: dict[str, list[str]] = {
    "c22-table1": [*REAL, "--artifacts=10"],
    "c22-table2": [*REAL, "--ends=20"],
    "c22-rates": FEW[1:],
    **dict.fromkeys(("c22-figure4", "c22-figure5", "c22-correction", "c22-detection"), FEW),
    **dict.fromkeys(("c22-masks", "c22-ablations"), FEW),
    "t21-table1": [],
    "t21-table2": [*LEARN, *UNITS],
    "t21-table4": LEARN,
    **dict.fromkeys(("t21-figure12", "t21-figure26", "t21-masks", "t21-correction"), LEARN),
    "t21-labels": [FEW[0], "--num-real=100", "--artifacts=10"],
    "t21-systems": [*LEARN, *UNITS],
    "t21-options": LEARN,
    "t21-units": [*LEARN, *UNITS],
    "t21-d-values": [FEW[0], "--num-real=100", "--artifacts=10"],
}
PEOPLE = ("t21-table3", "t21-figure17")
TABLES_ONLY = ("c22-table2", "t21-table1", "t21-table2", "t21-table4")
PICTURES = {name: [""] for name in TINY if name not in TABLES_ONLY} | {
    "t21-figure12": [
        f"-{way}-{measure}"
        for way in ("global", "rank", "sample")
        for measure in ("distance", "realism")
    ],
    "t21-units": ["", "-concepts", "-zeroed"],
}
PRINTED = {  # how many there are in each paper, with its appendix or supplement
    ("[C22]", "Table"): 2,
    ("[C22]", "Figure"): 14,
    ("[T21]", "Table"): 6,
    ("[T21]", "Figure"): 31,
}


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The example's modules, importable in this file's tests only."""
    with ExitStack() as stack:
        for example in ("pggan_small", "stylegan2_small", "footwear", "reproduce"):
            stack.enter_context(importing(example))
        import content
        import exhibits
        import galleries
        import papers
        import report
        import reproduce

        yield {
            "content": content,
            "exhibits": exhibits,
            "galleries": galleries,
            "papers": papers,
            "report": report,
            "reproduce": reproduce,
        }


@pytest.fixture
def run(modules: dict[str, Any], tmp_path: Path) -> Run:
    """A command that writes to a folder of the test's own."""

    def call(name: str, *line: object) -> Result:
        where = [] if name == "list" else [f"--out={tmp_path}"]
        given = [name, *map(str, line), *where]
        return CliRunner().invoke(modules["reproduce"].main, given)

    return call


def published(modules: dict[str, Any], command: str) -> Any:
    return modules["papers"].Published.of(command)


def test_what_the_papers_say_of_their_tables_is_true_of_ours(modules: dict[str, Any]) -> None:
    ablation = published(modules, "c22-table1")
    assert min(map(min, ablation.rows.values())) == ablation.column("0,1,3")["LR, R = 0.3"] == 29.6
    for bottom, _, _, top, *_ in published(modules, "c22-table2").rows.values():
        assert bottom > top
    systems = published(modules, "t21-table2")
    for column in systems.columns:
        found = systems.column(column)
        del found["normals"]
        assert min(found, key=lambda name: found[name]) == "sequential"
    for before, after in published(modules, "t21-table4").rows.values():
        assert after < before


@pytest.mark.parametrize(("paper", "kind"), PRINTED)
def test_every_table_and_figure_of_both_papers_is_listed_once(
    modules: dict[str, Any], paper: str, kind: str
) -> None:
    numbers = [
        number
        for exhibit in modules["exhibits"].EXHIBITS
        if (exhibit.paper, exhibit.kind) == (paper, kind)
        for number in exhibit.numbers
    ]
    assert sorted(numbers) == list(range(1, PRINTED[paper, kind] + 1))


def test_the_list_says_of_each_what_it_shows_and_which_commands_make_it(
    run: Run, modules: dict[str, Any]
) -> None:
    listed = run("list").output
    commands = modules["reproduce"].main.commands
    for exhibit in modules["exhibits"].EXHIBITS:
        assert f"{exhibit.name}: {exhibit.shows}\n" in listed
        assert exhibit.commands or exhibit.numbers == (6,)  # text, not a result
        assert set(exhibit.commands) <= set(commands)


def test_every_command_stands_in_the_list(run: Run, modules: dict[str, Any]) -> None:
    listed = run("list").output
    assert {*modules["reproduce"].main.commands} == {*TINY, *PEOPLE, "list", "all"}
    for command in (*TINY, *PEOPLE):
        assert f"    {command} " in listed


def test_numbers_in_a_row_are_named_by_their_ends(modules: dict[str, Any]) -> None:
    exhibit = modules["exhibits"].Exhibit("[C22]", "Figure", (2, 3, 6, 7, 8, 13), "")
    assert exhibit.name == "[C22], Figures 2, 3, 6–8, 13"


@pytest.mark.parametrize("command", TINY)
def test_every_command_runs_from_end_to_end(run: Run, tmp_path: Path, command: str) -> None:
    done = run(command, *TINY[command])
    assert done.exit_code == 0, done.output
    text = (tmp_path / f"{command}.md").read_text()
    assert "not levels" in text or command == "t21-table1"
    pictures = {path.stem.removeprefix(command) for path in tmp_path.glob(f"{command}*.png")}
    assert pictures == {*PICTURES.get(command, [])}
    for name in pictures:
        assert np.asarray(Image.open(tmp_path / f"{command}{name}.png")).std() > 10


def test_a_score_that_only_tells_kinds_of_content_is_at_chance_within_them(
    modules: dict[str, Any],
) -> None:
    content, kinds = modules["content"], torch.arange(200) % 2
    chance = torch.Generator().manual_seed(0)
    realism = torch.rand(200, generator=chance) - 2 * kinds  # one kind is far less realistic
    scores = kinds.float()
    assert content.separation(scores, realism, torch.zeros_like(kinds)) == 1
    assert content.separation(scores, realism, kinds) == 0.5
    assert content.rank_correlation(scores, realism) < -0.6
    defect = -realism - 2 * kinds  # what is wrong within each kind
    assert content.separation(defect, realism, kinds) == 1
    assert content.rank_correlation(defect, realism, kinds) == pytest.approx(-1)


def test_realism_s_labels_say_what_kinds_of_content_they_are_of(run: Run) -> None:
    done = run("t21-labels", *TINY["t21-labels"])
    (line,) = [text for text in done.output.splitlines() if text.startswith("kinds of content")]
    for kind in ("artifacts", "normals"):
        shares = re.search(rf"{kind} (\d+)%, (\d+)%, (\d+)%", line)
        assert shares and 98 <= sum(map(int, shares.groups())) <= 102


def test_a_gallery_notes_its_corrections_as_one_would_type_them(modules: dict[str, Any]) -> None:
    typed = modules["galleries"].typed(parse_spec("seqabl:rate=0.7,side=high,samples=60"))
    assert set(typed.partition(":")[2].split(",")) == {"rate=0.7", "side=high"}


@pytest.fixture
def no_other_legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The face GAN's module of that name is not the StyleGAN2's, which tests imported before."""
    monkeypatch.delitem(sys.modules, "legacy", raising=False)


@pytest.mark.usefixtures("no_other_legacy")
def test_all_runs_a_command_on_each_of_its_small_networks(run: Run, tmp_path: Path) -> None:
    done = run("all", "--only=c22-masks", "--scale=0.005")
    assert done.exit_code == 0, done.output
    for network in ("footwear-stylegan2", "footwear-pggan", "face-gan"):
        assert f"c22-masks on {network} · latents 150" in done.output
        assert (tmp_path / network / "c22-masks.png").exists()


@pytest.mark.usefixtures("no_other_legacy")
def test_the_face_gan_brings_its_labels_along(run: Run, tmp_path: Path) -> None:
    done = run("t21-labels", "--network=face-gan", "--artifacts=7")
    assert done.exit_code == 0, done.output
    assert done.output.count("by the labels, 7 artifacts and 7 normals") == 1


def test_other_seeds_are_other_generations(run: Run, tmp_path: Path) -> None:
    tables = []
    for first in (0, 0, 300):
        done = run("c22-table2", *TINY["c22-table2"], f"--first={first}")
        assert done.exit_code == 0, done.output
        tables.append((tmp_path / "c22-table2.md").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_a_table_shows_the_papers_figure_beside_ours(run: Run, tmp_path: Path) -> None:
    run("t21-table1")
    text = (tmp_path / "t21-table1.md").read_text()
    assert "27.87" in text and "476" not in text  # 476 of 1708 faces
    assert "[T21], Table 1, PGGAN, CelebA-HQ" in text and "38.71" in text


def test_the_users_labels_take_the_place_of_realism(
    run: Run, pggan: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    items = tuple(Label(seed, ARTIFACT if seed < 4 else NORMAL) for seed in range(9))
    write(Labels(fingerprint(pggan), items), path)
    done = run("t21-d-values", *TINY["t21-d-values"], f"--labels={path}")
    assert "by the labels, 4 artifacts and 5 normals" in done.output, done.output
    write(Labels("ab" * 32, items), path)
    done = run("t21-d-values", *TINY["t21-d-values"], f"--labels={path}")
    assert done.exit_code == 1 and "labels: are of another generator" in done.output


def test_sizes_are_the_papers_a_share_of_them_or_as_given(modules: dict[str, Any]) -> None:
    Asked = modules["report"].Asked
    assert Asked("c22-table1", "footwear-stylegan2").size("artifacts") == 1000
    assert Asked("c22-table1", "ffhq.pkl").size("artifacts") == 1300
    assert Asked("c22-table1", "ffhq.pkl", scale=0.1).size("artifacts") == 130
    given = Asked("c22-table1", "ffhq.pkl", scale=0.1, sizes={"artifacts": 7})
    assert given.size("artifacts") == 7 and given.size("latents") == 3000


def test_a_network_of_the_users_own_follows_the_protocol_to_scale(
    run: Run, network_pickle: Path, tmp_path: Path
) -> None:
    host = EXAMPLES / "stylegan2_small"
    where = [f"--network={network_pickle}", f"--host={host}", "--device=cpu", "--scale=0.002"]
    real = f"--real={host / 'data' / 'footwear32_test.zip'}"
    done = run("c22-table2", *where, real, "--extractor=classifier:features")
    assert done.exit_code == 0, done.output
    assert "latents 60 (protocol: 30,000) · generations 100 (protocol: 50,000)" in done.output
    assert "| footwear32.pkl, R = 0.3 " in done.output


def test_the_subject_says_that_figures_can_be_compared(run: Run) -> None:
    done = run("c22-figure5", *TINY["c22-figure5"], "--subject=StyleGAN2, FFHQ")
    assert "taken to be the paper's own network and data" in done.output
    assert "not levels" not in done.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["c22-table1", "--network=net.pkl"], "c22-table1: needs real images"),
        (["t21-table2", "--network=face-gan"], "t21-table2: needs real images"),
        (["t21-masks", "--network=net.pkl"], "t21-masks: needs labels, or real images"),
        (["c22-table2", "--real=nowhere"], "images nowhere: no such folder or zip"),
        (["c22-figure4", "--network=net.pkl"], "--network net.pkl: no such file"),
        (["t21-table4", "--labels=nowhere.csv"], "labels nowhere.csv: no such file"),
        (["t21-table1", "--labels=nowhere.csv"], "labels nowhere.csv: no such file"),
        (["t21-table3"], "t21-table3: needs people; let them judge by ganfix judge"),
        (["t21-figure17", "--answers=none.sqlite"], "answers none.sqlite: no such file"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    run: Run, tmp_path: Path, line: list[str], said: str
) -> None:
    done = run(*line)
    assert done.exit_code == 1
    (error,) = [each for each in done.output.splitlines() if each.startswith("Error")]
    assert said in error and done.output.splitlines()[-1] == error
    assert not list(tmp_path.glob("*.md"))


def test_people_s_verdicts_stand_beside_the_papers(
    run: Run, answers: Answers, tmp_path: Path
) -> None:
    done = run("t21-table3", f"--answers={answers.path}")
    assert done.exit_code == 0, done.output
    assert SPEC in done.output
    assert "58.3% ± 28.9%" in done.output and "80.0% ± 20.0%" in done.output
    assert "54.5 %" in done.output  # the paper's churches
    done = run("t21-figure17", f"--answers={answers.path}")
    assert "neither 50.0%" in done.output
    assert Image.open(tmp_path / "t21-figure17.png").width > 600
