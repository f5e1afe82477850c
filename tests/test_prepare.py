"""From a generator to seqc: automatic labels, `ganfix fit`, `score` and `prepare`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import images, latents
from PIL import Image
from prepared import EXTRACTOR, SAMPLES, error, judged, look, prepare, run, uncorrected
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.artifacts.prepare import MOST_REAL, auto_labels, fit_classifier
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.images import read_images
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, read, stored_path, write
from ganfix_plugin.profiling.profile import Profile

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
STYLEGAN2 = TESTS.parent / "examples" / "stylegan2_small"
PGGAN = TESTS.parent / "examples" / "pggan_small"
CHECKPOINT = PGGAN / "checkpoints" / "pggan_footwear32.safetensors"
REAL = STYLEGAN2 / "data" / "footwear32_test.zip"


def means(scores: torch.Tensor, labels: Labels) -> tuple[float, float]:
    """Of the artifacts and the normals."""
    artifact, normal = (float(scores[labels.seeds(kind)].mean()) for kind in (ARTIFACT, NORMAL))
    return artifact, normal


def test_the_seeds_of_highest_lr_count_are_artifacts_and_of_lowest_normals(G: nn.Module) -> None:
    found = auto_labels(Generator.of(G), 60, 15, samples=SAMPLES)
    z = latents_of(range(60), Generator.of(G).latent_shape)
    scores = ganfix.detect(G, z, samples=SAMPLES)
    artifacts, normals = found.seeds(ARTIFACT), found.seeds(NORMAL)
    assert len(artifacts) == len(normals) == 15 and not set(artifacts) & set(normals)
    between = [seed for seed in range(60) if seed not in artifacts + normals]
    assert scores[artifacts].min() >= scores[between].max()
    assert scores[between].min() >= scores[normals].max()
    artifact, normal = means(scores, found)
    assert artifact > normal
    assert {each.rater for each in found.items} == {"lr-count"}
    assert found.generator == fingerprint(G)


def features(x: torch.Tensor) -> torch.Tensor:
    return look(x).mean(dim=(2, 3))


def test_with_real_images_the_least_realistic_seeds_are_artifacts(stylegan2: nn.Module) -> None:
    found = auto_labels(Generator.of(stylegan2), 60, 15, real=REAL, extractor=EXTRACTOR)
    sampled = read_images(REAL, 32, num=MOST_REAL)
    real = torch.cat([features(each) for each in sampled])
    realism = Manifold.of(real).realism(features(uncorrected(stylegan2, range(60))))
    artifacts, normals = found.seeds(ARTIFACT), found.seeds(NORMAL)
    assert len(artifacts) == len(normals) == 15
    assert realism[artifacts].max() < realism[normals].min()
    assert {each.rater for each in found.items} == {"realism"}


@pytest.mark.parametrize(
    ("num", "top", "says"),
    [(20, 11, "22 of 20 generations were asked for; raise --num"), (20, 0, "at least 1")],
)
def test_there_must_be_enough_generations_to_label(
    pggan: nn.Module, num: int, top: int, says: str
) -> None:
    with pytest.raises(GanfixError, match=says):
        auto_labels(Generator.of(pggan), num, top)


def test_the_classifier_learns_from_labelled_and_real_images(stylegan2: nn.Module) -> None:
    head = fit_classifier(
        Generator.of(stylegan2), judged(stylegan2), real=REAL, extractor=EXTRACTOR
    )
    assert head.classes == ("artifact", "normal", "real")
    assert head.counts["artifact/train"] == 32 and head.held_out.auc > 0.9
    assert (head.extractor, head.generator) == (EXTRACTOR, fingerprint(stylegan2))
    bright = uncorrected(stylegan2, range(80, 120)).mean(dim=(1, 2, 3))
    found = head.artifact_probability(features(uncorrected(stylegan2, range(80, 120))))
    assert torch.corrcoef(torch.stack([bright, found]))[0, 1] > 0.6


def labelled(G: nn.Module, artifacts: int, normals: int) -> Labels:
    kinds = [ARTIFACT] * artifacts + [NORMAL] * normals
    items = tuple(Label(seed, kind) for seed, kind in enumerate(kinds))
    return Labels(fingerprint(G), items)


@pytest.mark.parametrize(
    ("artifacts", "normals", "says"),
    [
        (0, 30, "found none labelled artifact, expected at least 20"),
        (30, 0, "found none labelled normal, expected at least 20"),
        (7, 30, "class artifact: found 7 samples, expected at least 20"),
        (30, 19, "class normal: found 19 samples, expected at least 20"),
    ],
)
def test_missing_classes_and_too_few_labels_say_how_many_are_needed(
    pggan: nn.Module, artifacts: int, normals: int, says: str
) -> None:
    with pytest.raises(GanfixError, match=says):
        fit_classifier(
            Generator.of(pggan), labelled(pggan, artifacts, normals), extractor=EXTRACTOR
        )


def test_labels_of_another_network_are_refused(pggan: nn.Module, stylegan2: nn.Module) -> None:
    with pytest.raises(GanfixError, match="labels: are of another generator"):
        fit_classifier(Generator.of(pggan), labelled(stylegan2, 30, 30), extractor=EXTRACTOR)


def write_pictures(folder: Path, size: int, count: int = 25) -> Path:
    folder.mkdir()
    for seed in range(count):
        pixels = np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed:02d}.png")
    return folder


def test_real_images_of_the_wrong_size_are_refused(pggan: nn.Module, tmp_path: Path) -> None:
    real = write_pictures(tmp_path / "real", 16)
    for work in (
        lambda: fit_classifier(Generator.of(pggan), judged(pggan), real=real, extractor=EXTRACTOR),
        lambda: auto_labels(Generator.of(pggan), 40, 20, real=real, extractor=EXTRACTOR),
    ):
        with pytest.raises(GanfixError, match="00.png is 16×16, expected 32×32"):
            work()


def not_a_number(x: torch.Tensor) -> torch.Tensor:
    """An extractor that is broken."""
    return x * torch.nan


def test_nan_in_features_is_refused(pggan: nn.Module) -> None:
    broken = "test_prepare:not_a_number"
    with pytest.raises(GanfixError, match="class artifact: found NaN or infinite features"):
        fit_classifier(Generator.of(pggan), judged(pggan), extractor=broken)
    with pytest.raises(GanfixError, match="found NaN or infinity"):
        auto_labels(Generator.of(pggan), 40, 20, real=REAL, extractor=broken)


def network(host: str, network_pickle: Path) -> list[Any]:
    """What opens a network of an example, on the command line."""
    if host == "pggan":
        return [f"--network={CHECKPOINT}", "--host", PGGAN, "--device=cpu"]
    return [f"--network={network_pickle}", "--host", STYLEGAN2, "--device=cpu"]


@pytest.mark.parametrize("host", ["stylegan2", "pggan"])
def test_labels_auto_fit_and_score_lead_to_seqc(
    host: str, network_pickle: Path, own_cache: Path, tmp_path: Path, request: Any
) -> None:
    where, file = network(host, network_pickle), tmp_path / "labels.csv"
    shown = run("labels", "auto", *where, "--num=100", "--top=40", "--samples=200", f"--out={file}")
    assert shown.exit_code == 0, shown.output
    assert f"40 artifacts and 40 normals of 100 generations: {file}" in shown.output
    assert len(read(file).items) == 80

    shown = run("fit", *where, f"--labels={file}", f"--extractor={EXTRACTOR}")
    assert shown.exit_code == 0, shown.output
    for text in (
        f"extractor {EXTRACTOR}",
        "held-out AUC",
        "95 % interval",
        "accuracy",
        "taken for",
        "classifier:",
    ):
        assert text in shown.output

    told = json.loads(
        run("fit", *where, f"--labels={file}", f"--extractor={EXTRACTOR}", "--json").stdout
    )
    head = Classifier.load(Path(told["classifier"]))
    assert told["held_out"]["auc"] == pytest.approx(head.held_out.auc)
    assert told["held_out"]["confusion"] == head.held_out.confusion
    assert told["generator"] == head.generator and told["extractor"] == EXTRACTOR

    shown = run("score", *where, f"--labels={file}", "--samples=200")
    assert shown.exit_code == 0, shown.output
    assert "largest DS" in shown.output and "profile: " in shown.output
    told = json.loads(run("score", *where, f"--labels={file}", "--samples=200", "--json").stdout)
    kept = Profile.load(Path(told["profile"])).defective
    assert told["layers"] == {name: scores.tolist() for name, scores in kept.items()}

    G = request.getfixturevalue(host)
    z = latents(G, 16)
    before = images(G, z)
    for spec in ("seqc", "seqc:local=yes", "ds:layer=2,units=5"):
        extra = f"{',' if ':' in spec else ':'}samples=200"
        with attach(G, spec + extra) as attachment:
            assert not torch.equal(images(G, z), before)
        assert attachment.counts[0].corrected > 0


def test_prepare_does_it_all_at_once_and_says_what_to_run(
    network_pickle: Path, own_cache: Path, stylegan2: nn.Module
) -> None:
    options = ["--num=100", "--top=40", "--samples=200", f"--extractor={EXTRACTOR}"]
    shown = run("prepare", *network("stylegan2", network_pickle), *options)
    assert shown.exit_code == 0, shown.output
    *_, spec = shown.output.splitlines()[-1].split()
    assert (
        shown.output.splitlines()[-1]
        == f"ready for --correct seqc:samples=200,extractor={EXTRACTOR}"
    )
    as_json = json.loads(
        run("prepare", *network("stylegan2", network_pickle), *options, "--json").stdout
    )
    assert as_json["correct"] == spec and f"AUC {as_json['held_out']['auc']:.3f}" in shown.output
    with attach(stylegan2, spec) as attachment:
        images(stylegan2, latents(stylegan2, 16))
    assert attachment.counts[0].corrected > 0


@pytest.mark.parametrize("host", ["stylegan2", "pggan"])
def test_the_scripts_correct_by_seqc_without_an_edit(
    host: str, network_pickle: Path, tmp_path: Path, request: Any
) -> None:
    _, _, _ = prepare(request.getfixturevalue(host))
    out = tmp_path / "out"
    if host == "pggan":
        folder, script = PGGAN, ["synthesize.py", "pggan_footwear32", "--num=4"]
        script += ["--save_raw_synthesis=true", f"--save_dir={out}"]
    else:
        folder, script = STYLEGAN2, ["generate.py", f"--network={network_pickle}", "--seeds=0-7"]
        script += [f"--outdir={out}"]
    command = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", *script]
    command += ["--correct", f"seqc:samples={SAMPLES},extractor={EXTRACTOR}"]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "layers 1+2+3 ·" in done.stderr
    assert list(out.rglob("*.png"))


def test_scoring_without_fit_says_so(
    network_pickle: Path, own_cache: Path, stylegan2: nn.Module, tmp_path: Path
) -> None:
    write(judged(stylegan2), tmp_path / "labels.csv")
    arguments = [*network("stylegan2", network_pickle), f"--labels={tmp_path / 'labels.csv'}"]
    assert "no such file; make it by ganfix fit" in error(run("score", *arguments))


def test_mistakes_are_one_line_and_status_1(
    network_pickle: Path,
    stylegan2: nn.Module,
    pggan: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))  # no weights are there
    where = network("stylegan2", network_pickle)
    other, few, one = tmp_path / "other.csv", tmp_path / "few.csv", tmp_path / "one.csv"
    good = tmp_path / "good.csv"
    write(judged(pggan), other)
    write(labelled(stylegan2, 8, 30), few)
    write(labelled(stylegan2, 30, 0), one)
    write(judged(stylegan2), good)
    small = write_pictures(tmp_path / "small", 16)
    own, resnet = f"--extractor={EXTRACTOR}", "--extractor=resnet18"
    broken = "--extractor=test_prepare:not_a_number"
    mistakes = {
        "labels: are of another generator": ["fit", f"--labels={other}", own],
        "class artifact: found 8 samples, expected at least 20": ["fit", f"--labels={few}", own],
        "found none labelled normal": ["fit", f"--labels={one}", own],
        "00.png is 16×16, expected 32×32": ["fit", f"--labels={good}", own, f"--real={small}"],
        "gone: no such folder or zip": ["fit", f"--labels={good}", own, "--real=gone"],
        "gone.csv: no such file": ["fit", "--labels=gone.csv", own],
        "extractor resnet18: its weights are not in": ["fit", f"--labels={good}", resnet],
        "found NaN or infinite features": ["fit", f"--labels={good}", broken],
        "raise --num": ["labels", "auto", "--num=3", "--top=2", f"--out={tmp_path / 'x.csv'}"],
        "layers=99": ["score", f"--labels={good}", "--layers=99", "--samples=10"],
    }
    prepare(stylegan2)
    for says, arguments in mistakes.items():
        assert says in error(run(*arguments, *where))


def test_a_classifier_may_be_kept_elsewhere(
    network_pickle: Path, own_cache: Path, stylegan2: nn.Module, tmp_path: Path
) -> None:
    labels, head = tmp_path / "labels.json", tmp_path / "head.safetensors"
    write(judged(stylegan2), labels)
    where = network("stylegan2", network_pickle)
    shown = run("fit", *where, f"--labels={labels}", f"--extractor={EXTRACTOR}", f"--out={head}")
    assert shown.exit_code == 0 and f"classifier: {head}" in shown.output
    assert read(stored_path(fingerprint(stylegan2))) == read(labels)
    trained = Classifier.load(head)
    options = [f"--classifier={head}", "--samples=50", "--layers=1+2", "--tau=0.1", "--cam=0.3"]
    shown = run("score", *where, f"--labels={labels}", *options)
    assert shown.exit_code == 0, shown.output
    profile = Profile.load(Path(shown.output.split("profile: ")[1].strip()))
    expected = f"classifier={trained.digest()},artifacts=40,cam=0.3,active=0.5"
    assert profile.made == {"thresholds": "samples=50,tau=0.1", "defective": expected}
    assert set(profile.defective) == {"synthesis.b8.conv0", "synthesis.b8.conv1"}
