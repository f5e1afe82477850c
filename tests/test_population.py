"""Corrections beside real images: populations, the sweep of Table 1, options of Figure 12."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.cli import main
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.evaluation.population import Population, ablation_rows, layer_columns
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.pictures.sheet import pictured

pytestmark = pytest.mark.slow

EXTRACTOR = "test_population:pooled"


def pooled(images: Tensor) -> Tensor:
    return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def people(face: nn.Module, tmp_path: Path) -> Population:
    """60 faces beside 20 others, which stand in for real ones."""
    torch.manual_seed(5)
    folder = tmp_path / "real"
    folder.mkdir()
    for number, image in enumerate(pictured(face(torch.randn(20, 100, 1, 1)))):
        image.save(folder / f"{number}.png")
    return Population.of(Generator.of(face), range(60), folder, EXTRACTOR)


def test_artifacts_are_the_generations_of_least_realism(people: Population) -> None:
    worst = people.artifacts(10)
    rest = [seed for seed in people.seeds if seed not in worst]
    assert people.realism[worst].max() <= people.realism[rest].min()
    with pytest.raises(GanfixError, match="found 61 of 60 generations"):
        people.artifacts(61)


def test_an_effect_is_a_distance_and_a_realism(people: Population) -> None:
    seeds = people.artifacts(10)
    plain = people.effect(None, seeds)
    real = Gaussian.of(people.real)
    assert plain.distance == pytest.approx(real.distance_to_samples(people.features[seeds]))
    assert plain.realism == pytest.approx(float(people.realism[seeds].mean()))
    same = people.effect(parse_spec("none"), seeds)
    assert same.distance == pytest.approx(plain.distance, rel=1e-4)
    assert people.effect(parse_spec("random:portion=90%"), seeds) != plain


def test_the_table_has_the_paper_s_rows_and_columns(people: Population) -> None:
    assert list(layer_columns(people.generator)) == [
        "0",
        "1",
        "2",
        "0,1",
        "0,1,2",
        "0,1,2,3",
    ]
    assert list(ablation_rows()) == [
        "LR, R = 0.7",
        "LR, R = 0.5",
        "LR, R = 0.3",
        "LR, R = 0.1",
        "HR, R = 0.7",
        "random 30 %",
        "random, fixed",
    ]


def test_the_paper_s_random_neurons_are_among_the_activated_ones() -> None:
    rows = ablation_rows()
    of = [str(rows[name]).partition("of=")[2].partition(",")[0] for name in list(rows)[-2:]]
    assert of == ["activated", "neurons"]


def test_an_option_is_varied_and_the_rest_kept(people: Population) -> None:
    seeds, effects = people.artifacts(8), []
    for text in ("10%", "90%"):
        spec = parse_spec("random:seed=3").replaced({"portion": text})
        assert spec == parse_spec(f"random:portion={text},seed=3")
        effects.append(people.effect(spec, seeds))
    assert effects[0] != effects[1]


def test_the_value_that_changes_nothing_comes_to_no_correction(people: Population) -> None:
    seeds = people.artifacts(8)
    same = people.effect(parse_spec("truncation:psi=1"), seeds)
    assert same.distance == pytest.approx(people.effect(None, seeds).distance, rel=1e-4)


@pytest.fixture
def run(people: Population, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `ganfix plot` on the face GAN and gives the picture."""
    monkeypatch.chdir(Path(__file__).parents[1] / "examples" / "face_gan")

    def call(*line: str) -> Image.Image:
        out = tmp_path / "out" / "picture.png"
        options = ["--network=legacy:generator", "--device=cpu", f"--out={out}"]
        done = CliRunner().invoke(main, ["plot", *line[:1], *options, *line[1:]])
        assert done.exit_code == 0, done.output
        return Image.open(out)

    return call


@pytest.mark.parametrize(
    "line",
    [
        ("corrections", "--correct=random:portion=50%", "--seeds=1,3-5", "--samples=200"),
        ("ablation", "--seeds=1", "--samples=200"),
        ("rates", "--seeds=1", "--samples=200", "--rates=0.3,0.7"),
        ("unit", "--unit=0:3+5", "--num=40", "--per-unit=5", "--samples=200"),
        (
            "concepts",
            "--layer=2",
            "--units=6",
            "--num=40",
            "--per-unit=5",
            f"--extractor={EXTRACTOR}",
        ),
    ],
)
def test_every_picture_is_drawn_by_its_command(run: Any, line: tuple[str, ...]) -> None:
    assert np.asarray(run(*line)).std() > 20


def test_the_figures_of_populations_are_drawn_by_theirs(run: Any, tmp_path: Path) -> None:
    much = [f"--real={tmp_path / 'real'}", f"--extractor={EXTRACTOR}", "--num=30", "--artifacts=8"]
    assert run("sweep", *much, "--rates=0.3", "--samples=200").width > 800
    varied = ["--correct=random", "--vary=portion=10%,50%", "--measure=realism"]
    assert run("options", *much, *varied).width > 800


def test_d_values_need_a_discriminator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1] / "examples" / "face_gan")
    line = ["plot", "d-values", "--network=legacy:generator", "--num=20", "--top=5"]
    done = CliRunner().invoke(main, [*line, "--samples=200", f"--out={tmp_path / 'd.png'}"])
    assert done.exit_code == 1 and "discriminator: none was opened" in done.output


def test_d_values_do_not_depend_on_other_images(network_pickle: Path, tmp_path: Path) -> None:
    from ganfix_plugin.artifacts.discriminator import d_values
    from ganfix_plugin.hosts.loading import open_network

    host = Path(__file__).parents[1] / "examples" / "stylegan2_small"
    with open_network(str(network_pickle), host, "cpu") as generator:
        several = d_values(generator, [4, 5, 6])
        assert several.shape == (3,)
        assert torch.allclose(several[1:2], d_values(generator, [5]), atol=1e-5)
