"""examples/face_gan/compare.py: labels balanced within kinds, and the table of all correctors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from examples import importing
from ganfix_plugin.features.kinds import Kinds
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The example's modules, importable in this file's tests only."""
    with ExitStack() as stack:
        for example in ("pggan_small", "stylegan2_small", "footwear", "face_gan"):
            stack.enter_context(importing(example))
        import balanced
        import compare
        import subjects
        import task

        modules = (balanced, compare, subjects, task)
        yield {module.__name__: module for module in modules}


def test_footwear_is_labelled_within_kinds_by_realism(modules: dict[str, Any]) -> None:
    chance = torch.Generator().manual_seed(0)
    places = torch.tensor([0] * 100 + [20] * 60 + [40] * 40)
    features = torch.randn(200, 3, generator=chance) * (1 + places[:, None] / 20) + places[:, None]
    real = torch.randn(300, 3, generator=chance)
    labels = modules["balanced"].balanced("a", range(1000, 1200), features, real)
    realism, kinds = Manifold.of(real).realism(features), Kinds.among(features).of(features)
    for kind, size in enumerate((100, 60, 40)):
        members = (kinds == kind).nonzero()[:, 0]
        assert len(members) == size
        order = [1000 + int(place) for place in members[realism[members].argsort(stable=True)]]
        for text, expected in (
            (ARTIFACT, order[: round(0.15 * size)]),
            (NORMAL, order[size // 2 :]),
        ):
            ours = [seed for seed in labels.seeds(text) if seed in set(order)]
            assert ours == sorted(expected)


def test_the_halves_of_a_split_share_no_label(modules: dict[str, Any]) -> None:
    labels = Labels("a", tuple(Label(seed, NORMAL) for seed in range(50)))
    parts = [modules["subjects"].halves(labels, split) for split in range(3)]
    for seen, unseen in parts:
        assert sorted(seen.seeds(NORMAL) + unseen.seeds(NORMAL)) == list(range(50))
    assert len({tuple(seen.seeds(NORMAL)) for seen, _ in parts}) == 3


def test_the_table_holds_the_mean_over_splits_of_what_was_measured(modules: dict[str, Any]) -> None:
    compare = modules["compare"]
    splits = [{"steer": modules["task"].Figures(gated=share, recall=0.5)} for share in (0.1, 0.2)]
    head, _, row = compare.table(splits).splitlines()
    assert head == "| system | artifacts left, gated | recall of all |"
    assert row == "| `steer` | 15% | 0.500 |"
    both = compare.summary({"faces": dict(enumerate(splits)), "pggan": {}})
    assert both.splitlines()[2] == "| `steer` | – / 15% / – / 0.500 | – / – / – / – |"


@pytest.mark.slow
def test_the_comparison_keeps_what_it_measured_and_goes_on(
    modules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, subjects = modules["compare"], modules["subjects"]
    for module, name, value in (
        (subjects, "POOL", 300),
        (subjects, "NUM_REAL", 60),
        (modules["task"], "PART", 15),
        (modules["task"], "RESERVE", 2),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("GANFIX_CACHE", "to be left as it is")
    line = ["--on=pggan", "--samples=300", f"--out={tmp_path}", "--population=30", "--only=none"]
    done = CliRunner().invoke(compare.compare, line)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(compare.compare, [*line, "--only=steer", "--only=rejection"])
    assert done.exit_code == 0, done.output
    assert "split 0: none" not in done.output
    rows = json.loads((tmp_path / "pggan.json").read_text())["0"]
    systems = {"none", "steer", "steer, 200 labels", "steer, no labels"}
    assert set(rows) == systems | {"rejection", "rejection, as far as steer"}
    assert (rows["none"]["left"], rows["none"]["untouched"]) == (1, 1)
    assert rows["steer"]["gated"] < 1 and 0 < rows["steer"]["untouched"] < 1
    assert rows["rejection"]["recall"] is not None
    assert 0 < rows["steer"]["coverage_by_labels"] <= 1
    assert rows["rejection"]["gated"] <= 1 and rows["rejection"]["untouched"] is None
