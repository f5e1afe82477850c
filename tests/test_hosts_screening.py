"""--screen: seeds of the worst share are not rendered, and the others keep their names."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from prepared import judged
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.hosts.screening import Screen
from ganfix_plugin.labels import keep
from ganfix_plugin.profiling.unit_means import entry_call
from ganfix_plugin.spec import Options

EXAMPLES = Path(__file__).parents[1] / "examples"
MEASURED = Options(samples=200)


def screened(G: nn.Module, text: str, seeds: Sequence[int], **options: Any) -> list[int]:
    """The seeds that are left of a list."""
    parsed = {"seeds": list(seeds), **options}
    Screen.parse(text).apply(Generator.of(G), parsed, MEASURED, "cpu")
    return parsed["seeds"]


def scores(G: nn.Module, seeds: Sequence[int], samples: int = 200) -> list[float]:
    shape = Generator.of(G).latent_shape
    return ganfix.detect(G, latents_of(seeds, shape), samples=samples).tolist()


def threshold(G: nn.Module, quantile: float) -> float:
    ganfix.profile(G, samples=200)
    profile = ganfix.profile(G, samples=200)
    assert profile.lr_scores is not None
    return float(torch.quantile(profile.lr_scores.double(), quantile))


def test_the_list_of_the_script_is_changed_in_place(face: nn.Module) -> None:
    seeds = list(range(30))
    options = {"seeds": seeds}
    left = Screen.parse("30%").apply(Generator.of(face), options, MEASURED, "cpu")
    assert options["seeds"] is seeds and 0 < left == len(seeds) < 30


def test_the_seeds_over_the_quantile_of_the_profile_go_and_the_order_stays(
    face: nn.Module,
) -> None:
    seeds = [7, 3, *range(20, 50), 3]
    limit = threshold(face, 0.7)
    kept = [seed for seed, score in zip(seeds, scores(face, seeds)) if score <= limit]
    assert screened(face, "30%", seeds) == kept


def test_about_the_share_that_was_asked_for_goes(face: nn.Module) -> None:
    assert 200 - len(screened(face, "30%", range(200))) == pytest.approx(60, abs=25)


def test_replaced_seeds_are_the_next_good_ones(face: nn.Module) -> None:
    kept = screened(face, "30%", range(30))
    replaced = screened(face, "30%:replace", range(30))
    assert len(replaced) == 30
    new = [seed for seed in replaced if seed not in range(30)]
    assert [seed for seed in replaced if seed < 30] == kept
    good = screened(face, "30%", range(30, 90))
    assert new == good[: len(new)]


def test_a_probe_screens_as_its_scores_say(
    face: nn.Module, stylegan2: nn.Module, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganfix")
    for G in (face, stylegan2):
        keep(judged(G))
        kept = screened(G, "probe:30%", range(100, 160))
        generator = Generator.of(G)
        with ganfix.attach(G, f"steer:samples={MEASURED.samples}") as attachment:
            gate = attachment.corrections[0].gate
        assert gate is not None
        z = latents_of(range(100, 160), generator.latent_shape)
        call = entry_call(generator, lambda view: generator.synthesize(z, None, view))
        passing = (gate.scorer(*call) > gate.threshold).tolist()
        assert kept == [seed for seed, flagged in zip(range(100, 160), passing) if not flagged]
        assert 0 < len(kept) < 60
    assert "their score by the probe is over" in caplog.text


def test_truncation_counts_for_a_probe_too(stylegan2: nn.Module, own_cache: Path) -> None:
    keep(judged(stylegan2))
    plain = screened(stylegan2, "probe:50%", range(40))
    assert screened(stylegan2, "probe:50%", range(40), truncation_psi=0.3) != plain
    replaced = screened(stylegan2, "probe:50%:replace", range(40))
    assert len(replaced) == 40 and [s for s in replaced if s < 40] == plain


def test_truncation_is_taken_into_account(stylegan2: nn.Module) -> None:
    plain = screened(stylegan2, "50%", range(40))
    truncated = screened(stylegan2, "50%", range(40), truncation_psi=0.3)
    assert len(truncated) > len(plain)
    assert screened(stylegan2, "50%", range(40), truncation_psi=1.0) == plain


def test_classes_are_those_that_the_script_was_told(build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=3)
    one, two = (screened(G, "50%", range(60), class_idx=k) for k in (0, 2))
    assert one != two


def test_a_projected_w_is_left_alone(face: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganfix")
    assert screened(face, "30%", range(20), projected_w="w.npz") == list(range(20))
    assert "a projected w has no seed" in caplog.text


def test_what_went_is_said(face: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ganfix")
    kept = screened(face, "30%", range(20))
    gone = ", ".join(str(seed) for seed in range(20) if seed not in kept)
    assert f"{20 - len(kept)} of 20 seeds not rendered" in caplog.text
    assert f"in the worst 30%: {gone}" in caplog.text


@pytest.mark.parametrize(
    "text", ["10", "0%", "100%", "x", "10%:skip", "", "probe", "artifact:10%", "probe:10"]
)
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(GanfixError, match="--screen .*: expected the worst share"):
        Screen.parse(text)


def run(script: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", script, *arguments]
    return subprocess.run(list(map(str, line)), capture_output=True, text=True, env=os.environ)


@pytest.mark.slow
def test_an_unmodified_script_renders_what_is_left_under_the_same_names(
    face: nn.Module, tmp_path: Path
) -> None:
    line = ["--seeds=0-11", f"--outdir={tmp_path}", "--correct=none:samples=200", "--screen=30%"]
    done = run(EXAMPLES / "face_gan" / "generate.py", *line)
    assert done.returncode == 0, done.stderr
    kept = screened(face, "30%", range(12))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"seed{k:04d}.png" for k in kept]
    assert Image.open(tmp_path / f"seed{kept[0]:04d}.png").size == (64, 64)


@pytest.mark.slow
def test_scripts_without_a_seed_per_image_refuse_it_with_the_reason(network_pickle: Path) -> None:
    done = run(EXAMPLES / "stylegan2_small" / "style_mixing.py", "--screen=10%")
    assert done.returncode == 1
    assert "--screen 10%: style_mixing.py has no seed per image: only generate.py" in done.stderr
    done = run(EXAMPLES / "pggan_small" / "synthesize.py", "--screen=10%")
    assert done.returncode == 1 and "from one random stream" in done.stderr


def test_corrections_that_measure_otherwise_are_refused() -> None:
    same = parse_specs(["seqabl:samples=200", "steer:samples=200"])
    Screen.parse("10%").check(same)
    for other in ("steer:samples=300", "steer:samples=200,class=1", "steer:profile=x.safetensors"):
        with pytest.raises(GanfixError, match="goes by what is measured for the first --correct"):
            Screen.parse("10%").check(parse_specs(["seqabl:samples=200", other]))
