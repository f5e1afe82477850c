"""`ganfix detect`: a table, a histogram, two sheets and heat maps of a generator's seeds."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from generators import images, recorded
from PIL import Image
from prepared import judged
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin.cli import main
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import Label, Labels, keep, write
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import profile_path

pytestmark = pytest.mark.slow


@pytest.fixture
def run(face: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `ganfix detect` on the face GAN and gives its result; files go to tmp_path/out."""
    monkeypatch.chdir(Path(__file__).parents[1] / "examples" / "face_gan")

    def call(*options: str, num: int = 40) -> Result:
        line = ["detect", "--network=legacy:generator", "--samples=200", "--device=cpu"]
        line += [f"--num={num}", f"--out={tmp_path / 'out'}", "--top=3"]
        return CliRunner().invoke(main, [*line, *options])

    return call


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_ranks_the_seeds_of_the_host_by_lr_count(
    run: Any, face: nn.Module, tmp_path: Path
) -> None:
    done = run("--first=5")
    assert done.exit_code == 0, done.output
    table = rows(tmp_path)
    assert {int(row["seed"]) for row in table} == set(range(5, 45))
    scores = [float(row["score"]) for row in table]
    assert scores == sorted(scores, reverse=True)
    z = latents_of([int(row["seed"]) for row in table], (100, 1, 1))
    assert torch.equal(torch.tensor(scores), ganfix.detect(face, z, samples=200))


def test_a_script_gets_both_ends_of_the_table_as_json(
    run: Any, face: nn.Module, tmp_path: Path
) -> None:
    order = ganfix.detect(face, latents_of(range(20), (100, 1, 1)), samples=200).argsort()
    kinds = ["normal"] * 10 + ["artifact"] * 10
    items = tuple(Label(seed, kind) for seed, kind in zip(order.tolist(), kinds))
    for part, name in ((items[::2], "one.csv"), (items[1::2], "two.csv")):
        write(Labels(fingerprint(face), part), tmp_path / name)
    files = [f"--labels={tmp_path / name}" for name in ("one.csv", "two.csv")]
    done = run("--json", "--rate=0.1", "--rate=0.3", *files)
    assert done.exit_code == 0, done.output
    told, table = json.loads(done.stdout), rows(tmp_path)
    assert Path(told["table"]) == tmp_path / "out" / "scores.csv"
    for end, shown in (("most", table[:3]), ("least", table[:-4:-1])):
        assert [row["seed"] for row in told[end]] == [int(row["seed"]) for row in shown]
        assert [row["score"] for row in told[end]] == [float(row["score"]) for row in shown]
    assert told["auc"] == 1 and told["word"] == "unusual" and told["seeds"] == 40
    assert -1 <= told["R = 0.3"]["rank_correlation"] <= 1 and 0 <= told["R = 0.3"]["auc"] <= 1


def test_a_percentile_is_the_share_of_seeds_that_are_less_artifact_like(
    run: Any, tmp_path: Path
) -> None:
    run()
    table = rows(tmp_path)
    percentiles = [float(row["percentile"]) for row in table]
    assert percentiles[0] == pytest.approx(100 - 100 / 40 / 2)
    assert sum(percentiles) / 40 == pytest.approx(50, abs=1e-3)


def test_latents_of_both_sheets_are_saved_in_their_order(
    run: Any, face: nn.Module, tmp_path: Path
) -> None:
    done = run(f"--save-w={tmp_path / 'new' / 'z.npz'}")
    assert done.exit_code == 0, done.output
    seeds = [int(row["seed"]) for row in rows(tmp_path)]
    with np.load(tmp_path / "new" / "z.npz") as arrays:
        assert arrays["seeds"].tolist() == [*seeds[:3], *seeds[-3:]]
        expected = ganfix.latents(face, arrays["seeds"].tolist())
        assert np.array_equal(arrays["z"], expected.numpy())
    assert "expected a name that ends in .npz, .npy, .pt" in run("--save-w=w.txt").output


def test_the_image_of_a_seed_is_the_one_that_the_script_renders(
    run: Any, face: nn.Module, tmp_path: Path
) -> None:
    run()
    seed = int(rows(tmp_path)[0]["seed"])
    z = torch.from_numpy(np.random.RandomState(seed).randn(1, 100, 1, 1)).float()
    rendered = (images(face, z)[0].permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    expected = Image.fromarray(rendered.numpy()).resize((192, 192), Image.Resampling.BICUBIC)
    picture = np.asarray(Image.open(tmp_path / "out" / "heatmaps" / f"seed{seed:04d}.png"))
    shown = np.lib.stride_tricks.sliding_window_view(picture, (192, 192, 3))[:, 24, 0]
    assert (shown == np.asarray(expected)).all(axis=(1, 2, 3)).any()


def test_sheets_histogram_and_a_heat_map_for_every_shown_seed_are_written(
    run: Any, tmp_path: Path
) -> None:
    run()
    out = tmp_path / "out"
    shown = [row["seed"] for row in (*rows(tmp_path)[:3], *rows(tmp_path)[-3:])]
    assert {file.stem for file in (out / "heatmaps").iterdir()} == {
        f"seed{int(seed):04d}" for seed in shown
    }
    for name in ("histogram", "top", "bottom"):
        assert np.asarray(Image.open(out / f"{name}.png")).std() > 10
    assert not list(out.rglob(".writing*"))


def test_another_rate_stands_beside_the_first(run: Any, face: nn.Module, tmp_path: Path) -> None:
    done = run("--rate=0.1", "--rate=0.3")
    assert done.exit_code == 0, done.output
    table = rows(tmp_path)
    assert [float(row["score"]) for row in table] == sorted(
        (float(row["score"]) for row in table), reverse=True
    )
    z = latents_of([int(row["seed"]) for row in table], (100, 1, 1))
    paper = [float(row["score R = 0.3"]) for row in table]
    assert torch.equal(torch.tensor(paper), ganfix.detect(face, z, rate=0.3, samples=200))
    best = sorted(table, key=lambda row: -float(row["percentile R = 0.3"]))
    assert paper != sorted(paper, reverse=True)
    assert [float(row["score R = 0.3"]) for row in best] == sorted(paper, reverse=True)
    values = [[float(row[name]) for row in table] for name in ("score", "score R = 0.3")]
    ranks = [np.array([np.mean([(w < v) + (w <= v) for w in by]) for v in by]) for by in values]
    assert f"by R = 0.3: rank correlation {np.corrcoef(*ranks)[0, 1]:+.2f}, " in done.output
    assert np.asarray(Image.open(tmp_path / "out" / "rates.png")).std() > 10


def test_with_labels_every_rate_says_how_well_it_separates(
    run: Any, face: nn.Module, tmp_path: Path
) -> None:
    z = latents_of(range(20), (100, 1, 1))
    order = ganfix.detect(face, z, rate=0.3, samples=200).argsort(descending=True).tolist()
    kinds = ["artifact"] * 10 + ["normal"] * 10
    items = tuple(Label(seed, kind) for seed, kind in zip(order, kinds))
    write(Labels(fingerprint(face), items), tmp_path / "labels.csv")
    done = run("--rate=0.1", "--rate=0.3", f"--labels={tmp_path / 'labels.csv'}")
    assert "most unusual are the same; ROC AUC 1.000" in done.output


def test_only_the_lr_count_has_rates(run: Any) -> None:
    done = run("--by=probe", "--rate=0.1", "--rate=0.3")
    assert done.exit_code == 1 and "--by probe knows no rates" in done.output


def test_more_images_than_fit_one_batch_keep_their_seeds(run: Any, tmp_path: Path) -> None:
    run("--top=40")
    assert len(list((tmp_path / "out" / "heatmaps").iterdir())) == 40


def test_a_single_seed_is_ranked_and_shown(run: Any, tmp_path: Path) -> None:
    done = run(num=1)
    assert done.exit_code == 0, done.output
    assert [row["percentile"] for row in rows(tmp_path)] == ["50.000"]


def test_no_seed_at_all_is_an_error(run: Any) -> None:
    done = run(num=0)
    assert done.exit_code == 2 and "0 is not in the range" in done.output


def test_labels_say_how_well_the_score_separates(run: Any, face: nn.Module, tmp_path: Path) -> None:
    z = latents_of(range(20), (100, 1, 1))
    order = ganfix.detect(face, z, samples=200).argsort(descending=True).tolist()
    items = [Label(seed, "artifact") for seed in order[:10]]
    items += [Label(seed, "normal") for seed in order[10:]]
    write(Labels(fingerprint(face), tuple(items)), tmp_path / "labels.csv")
    assert "labels.csv: 1.000" in run(f"--labels={tmp_path / 'labels.csv'}").output


def test_labels_of_another_generator_are_refused(run: Any, tmp_path: Path) -> None:
    write(Labels("0" * 64, (Label(1, "artifact"),)), tmp_path / "labels.csv")
    done = run(f"--labels={tmp_path / 'labels.csv'}")
    assert done.exit_code == 1 and "are of another generator" in done.output


def test_a_probe_of_the_labels_in_the_store_ranks_like_its_formula(
    run: Any, face: nn.Module, tmp_path: Path, own_cache: Path
) -> None:
    keep(judged(face))
    done = run("--by=probe")
    assert done.exit_code == 0 and "most artifact-like: " in done.output, done.output
    table = rows(tmp_path)
    generator = Generator.of(face)
    probe = Profile.load(profile_path(generator, Settings(200))).probe("labels:0+1+2")
    assert probe is not None
    z = latents_of([int(row["seed"]) for row in table], (100, 1, 1))
    with recorded(face, generator.layers[:3]) as maps, torch.no_grad():
        face(z)
    means = torch.cat([x.clamp(min=0).mean(dim=(2, 3)) for x in maps.values()], dim=1)
    expected = (means - probe.mean) / probe.deviation @ probe.weight
    scores = torch.tensor([float(row["score"]) for row in table])
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)


def test_a_probe_is_not_measured_on_what_it_learned_from(
    run: Any, face: nn.Module, tmp_path: Path, own_cache: Path
) -> None:
    labels = judged(face, 160)
    keep(replace(labels, items=labels.items[:80]))
    write(replace(labels, items=labels.items[:80]), tmp_path / "seen.csv")
    write(labels, tmp_path / "labels.csv")
    done = run("--by=probe", f"--labels={tmp_path / 'seen.csv'}")
    assert done.exit_code == 1 and "that the probe learned from" in done.output
    area = float(
        run("--by=probe", f"--labels={tmp_path / 'labels.csv'}").output.split("csv: ")[1][:5]
    )
    assert 0.6 < area < 1


def test_realism_needs_real_images(run: Any) -> None:
    done = run("--by=realism")
    assert done.exit_code == 1 and "name a folder or zip by --real" in done.output


def test_the_artifact_score_needs_a_classifier(run: Any, own_cache: Path) -> None:
    done = run("--by=artifact")
    assert done.exit_code == 1 and "make it by ganfix fit" in done.output


def test_a_class_of_an_unconditional_generator_is_refused(run: Any) -> None:
    assert "class=2: Generator has no classes" in run("--class=2").output


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    run: Any, tmp_path: Path, own_cache: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    done = run()
    assert done.exit_code != 0 and not own_cache.exists()


def test_a_rate_above_1_is_refused(run: Any, tmp_path: Path) -> None:
    done = run("--rate=5")
    assert done.exit_code == 2 and "5.0 is not in the range 0<=x<=1" in done.output
    assert not (tmp_path / "out").exists()
