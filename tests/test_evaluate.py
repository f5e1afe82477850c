"""`ganfix evaluate`: figures of any generator, uncorrected and corrected."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from generators import dcgan
from PIL import Image
from prepared import error, judged, run
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation import views
from ganfix_plugin.evaluation.bench import held_out
from ganfix_plugin.evaluation.evaluate import evaluate, figures
from ganfix_plugin.features.bootstrap import Bootstrap
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.features.kinds import Kinds
from ganfix_plugin.files import cache_folder
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.hooks.standalone import bare
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, write

SPEC = "seqabl:samples=200,lowest=30%"
LOOK = "prepared:look"


def tiny() -> nn.Module:
    """The generator that commands open by the name ``test_evaluate:tiny``."""
    return dcgan()


def bright(images: Tensor) -> Tensor:
    return images.mean(dim=(2, 3))


def broken(images: Tensor) -> Tensor:
    return torch.full((len(images), 4), torch.nan)


def slow(images: Tensor) -> Tensor:
    print("looking", flush=True)
    signal.pause()
    return images


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of another seed's generator."""
    path = tmp_path_factory.mktemp("real") / "real.zip"
    with torch.no_grad():
        pixels = to_pixels(dcgan(seed=1)(latents_of(range(90), (8, 1, 1))))
    with zipfile.ZipFile(path, "w") as archive:
        for index, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
            with archive.open(f"{index:04d}.png", "w") as file:
                Image.fromarray(image).save(file, "png")
    return path


def line(real: Path, *more: object) -> list[object]:
    opening = ["evaluate", "--network=test_evaluate:tiny", "--device=cpu", f"--real={real}"]
    return [*opening, f"--extractor={LOOK}", "--resamples=20", *more]


def test_figures_are_those_of_the_features_of_both_sides(real: Path) -> None:
    G, look = dcgan(), load_extractor(LOOK)
    found = evaluate(G, SPEC, real=real, latents="0-49", extractor=LOOK, resamples=20)
    z = latents_of(range(50), (8, 1, 1))
    with ganfix.attach(G, SPEC), torch.no_grad():
        before, after = look.features(bare(G)(z)), look.features(G(z))
        reference = look.features(to_pixels(dcgan(1)(latents_of(range(90), (8, 1, 1)))) / 127.5 - 1)
    expected = figures(reference, [before, after], Bootstrap(20))
    for ours, theirs in zip(found.figures, expected):
        assert ours.values() == pytest.approx(theirs.values(), rel=1e-3, abs=1e-6)
    assert found.figures[0].difference != 0


def test_the_generator_is_left_without_corrections(real: Path) -> None:
    G = dcgan()
    evaluate(G, SPEC, real=real, latents="0-9", extractor=LOOK, resamples=0)
    assert ganfix.attach(G, SPEC).detach() is None


def test_the_record_names_all_that_the_figures_depend_on(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "record.json"
    done = run(*line(real, f"--correct={SPEC}", "--num=40", "--num-real=60", f"--out={out}"))
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert record["correct"] == ["seqabl:samples=200,layers=auto,lowest=30%,side=low,dead=with"]
    assert record["generator"] == fingerprint(dcgan())
    assert record["profile"][0].startswith(f"{fingerprint(dcgan())}:samples=200")
    assert (record["num"], record["num_real"], record["extractor"]) == (40, 60, LOOK)
    assert set(record["results"]) == {"frechet", "precision", "recall", "coverage", "realism"}
    assert set(record["measures"]) == {"untouched", "change", "identity", "kind_kept", "shift"}
    assert "difference_low" in record["results"]["frechet"]
    assert list(out.parent.iterdir()) == [out]


def test_the_table_shows_both_sides_the_difference_and_its_interval(real: Path) -> None:
    done = run(*line(real, f"--correct={SPEC}", "--num=40"))
    row = next(each for each in done.stdout.splitlines() if each.startswith("Fréchet"))
    before, after, difference = row.removeprefix("Fréchet distance ↓").split()[:3]
    assert float(difference) == pytest.approx(float(after) - float(before), abs=2e-3)
    assert row.endswith("]")


def test_a_gated_correction_stands_beside_rejection_and_truncation(
    real: Path, tmp_path: Path
) -> None:
    out = tmp_path / "record.json"
    done = run(*line(real, f"--correct={SPEC},gate=lr:70%", "--num=40", f"--out={out}"))
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert 0 < record["measures"]["untouched"] < 1
    for instead in ("rejection ", "truncation "):
        (name,) = (key for key in record if key.startswith(instead))
        assert record[name]["recall"]["uncorrected"] == record["results"]["recall"]["uncorrected"]
        assert name in done.stdout
    assert "what the correction keeps" in done.stdout


def test_rejection_draws_the_seeds_that_follow_until_as_many_are_left_alone(real: Path) -> None:
    G, look, spec = dcgan(), load_extractor(LOOK), f"{SPEC},gate=lr:70%"
    found = evaluate(
        *(G, spec),
        **{"real": real, "latents": "0-39", "extractor": LOOK, "resamples": 0},
        with_alternatives=True,
    )
    z = latents_of(range(100), (8, 1, 1))
    with ganfix.attach(G, spec), torch.no_grad():
        plain, corrected = bare(G)(z), G(z)
    alone = (plain == corrected).flatten(1).all(dim=1)
    kept = [seed for seed in range(40) if alone[seed]]
    again = [seed for seed in range(40, 100) if alone[seed]][: 40 - len(kept)]
    reference = look.features(to_pixels(dcgan(1)(latents_of(range(90), (8, 1, 1)))) / 127.5 - 1)
    (expected, *_) = figures(reference, [look.features(plain[kept + again])], Bootstrap(0))
    name = next(name for name in found.alternatives if name.startswith("rejection"))
    distance = found.alternatives[name][0].corrected
    assert distance == pytest.approx(expected.uncorrected, rel=1e-3)


def test_labels_say_what_becomes_of_artifacts_and_clean_images(real: Path, tmp_path: Path) -> None:
    write(judged(dcgan(), 120), tmp_path / "labels.csv")
    labels, out = f"--labels={tmp_path / 'labels.csv'}", tmp_path / "record.json"
    done = run(*line(real, f"--correct={SPEC}", "--num=20", labels, f"--out={out}"))
    assert done.exit_code == 0, done.output
    before, after = json.loads(out.read_text())["labelled"]
    assert (before["spec"], before["left"], before["clean"]["untouched"]) == ("", 1, 1)
    assert after["clean"]["untouched"] == 0 and after["clean"]["change"] > 0
    assert "labelled, held out" in done.stdout


def test_labels_that_a_correction_learned_from_are_left_out(real: Path, tmp_path: Path) -> None:
    labels = judged(dcgan(), 200)
    for name, items in (("seen", labels.items[:100]), ("all", labels.items)):
        write(Labels(labels.generator, items), tmp_path / f"{name}.csv")
    spec = parse_spec(f"boundary:labels={tmp_path / 'seen.csv'},samples=200")
    part = held_out(Generator.of(dcgan()), load_extractor(LOOK), labels, [spec], seed=0)
    samples = {*part.artifacts.samples, *part.normals.samples}
    assert samples and min(samples) >= 100
    few = f"--labels={tmp_path / 'seen.csv'}"
    message = error(run(*line(real, f"--correct={spec}", "--num=20", "--no-alternatives", few)))
    assert "found 0 labelled artifact" in message


def test_labels_that_go_with_kinds_of_content_are_warned_of(real: Path) -> None:
    generator = Generator.of(dcgan())
    images = generator.synthesize(latents_of(range(200), (8, 1, 1)), None)
    features = load_extractor(LOOK).features(images)
    kinds = Kinds.among(features, 2).of(features)
    for known, warned in ((kinds, True), (kinds.roll(1), False)):
        texts = [ARTIFACT if kind else NORMAL for kind in known]
        items = tuple(Label(seed, text) for seed, text in enumerate(texts))
        labels = Labels(generator.fingerprint, items)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            held_out(generator, load_extractor(LOOK), labels, [], seed=0)
        assert (
            any("the labels go with what images show" in str(w.message) for w in caught) == warned
        )


def test_a_judge_measures_the_same_by_another_network(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    judge = ["--judge=test_evaluate:bright", "--no-alternatives", f"--out={out}"]
    done = run(*line(real, f"--correct={SPEC}", "--num=40", *judge))
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert set(record["judged"]) == set(record["results"])
    assert record["judged"]["frechet"] != record["results"]["frechet"]
    assert "by the judge, test_evaluate:bright" in done.stdout
    assert not any(name.startswith("rejection") for name in record)


def test_without_correct_there_is_one_side(real: Path) -> None:
    done = run(*line(real, "--num=40"))
    row = next(each for each in done.stdout.splitlines() if each.startswith("realism"))
    assert re.fullmatch(r"realism ↑ +\d\.\d+ ± \d\.\d+", row)


def test_latents_may_be_given(real: Path, tmp_path: Path) -> None:
    z = latents_of(range(5, 45), (8, 1, 1))
    np.save(tmp_path / "z.npy", z.numpy())
    by_file = run(*line(real, f"--latents={tmp_path / 'z.npy'}")).stdout
    assert by_file == run(*line(real, "--latents=5-44")).stdout


def test_the_result_does_not_depend_on_the_batch(real: Path) -> None:
    several = [run(*line(real, "--num=40", f"--batch={batch}")).stdout for batch in (7, 40)]
    assert several[0] == several[1]


def wide(folder: Path) -> str:
    np.save(folder / "wide.npy", np.zeros((4, 9, 1, 1), dtype=np.float32))
    return f"--latents={folder / 'wide.npy'}"


def test_latents_of_another_width_are_refused(real: Path, tmp_path: Path) -> None:
    assert "found float32 [4, 9, 1, 1], expected" in error(run(*line(real, wide(tmp_path))))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--real=nowhere.zip"], "images nowhere.zip: no such folder or zip"),
        (["--latents=nowhere.csv"], "latents nowhere.csv: no such file"),
        (["--correct=bogus"], "--correct bogus: unknown corrector"),
        (["--extractor=nowhere"], "nowhere: unknown extractor"),
        (["--extractor=test_evaluate:broken"], "features: found NaN"),
        (["--num-real=91"], "found 90, expected 91"),
        (["--num-real=3"], "expected over 3 rows"),
        (["--out=/proc/none/record.json"], "/proc/none: cannot be made"),
    ],
)
def test_errors_are_one_line_and_leave_no_record(
    real: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    out = [] if any(each.startswith("--out") for each in more) else [f"--out={tmp_path / 'r.json'}"]
    assert message in error(run(*line(real, "--num=20", *out, *more)))
    assert not list(tmp_path.iterdir())


def test_real_images_of_another_size_are_refused(real: Path, tmp_path: Path) -> None:
    for index in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    message = error(run(*line(real, "--num=20", f"--real={tmp_path}")))
    assert "is 8×8, expected 16×16" in message


@pytest.mark.slow
def test_killed_in_the_middle_it_leaves_the_record_as_it_was(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    out.write_text("earlier")
    arguments = line(real, "--num=20", f"--out={out}", "--extractor=test_evaluate:slow")
    command = [sys.executable, "-m", "ganfix_plugin", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "looking\n"
        process.kill()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "record.json": "earlier"
    }


def in_rank(rank: int, real: Path, more: list[str], folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    done = run(*line(real, *more))
    (folder / f"{rank}.txt").write_text(f"{done.exit_code}\n{done.output}")


def two_ranks(real: Path, folder: Path, *more: str) -> list[str]:
    """What the two ranks of one run say, each after its status."""
    mp.start_processes(in_rank, (real, list(more), folder), 2, start_method="fork")
    return [(folder / f"{rank}.txt").read_text() for rank in range(2)]


def test_two_ranks_write_the_record_of_one(real: Path, own_cache: Path, tmp_path: Path) -> None:
    more = [f"--correct={SPEC}", "--num=50"]
    records = [tmp_path / "one.json", tmp_path / "two.json"]
    assert run(*line(real, *more, f"--out={records[0]}")).exit_code == 0
    first, second = two_ranks(real, tmp_path, *more, f"--out={records[1]}")
    assert first.startswith("0\n") and second.splitlines()[0] == "0", first + second
    assert "written to" in first and "written to" not in second
    assert records[0].read_bytes() == records[1].read_bytes()
    assert not list((own_cache / "evaluations").iterdir())


def test_an_error_of_both_ranks_ends_both_with_one_message(real: Path, tmp_path: Path) -> None:
    for extractor in ("no-such", "test_evaluate:broken"):
        first, second = two_ranks(real, tmp_path, "--num=50", f"--extractor={extractor}")
        assert first.startswith("1\n") and second == "1\n"
        assert first.count("Error: ") == 1


def second_fails(images: Tensor) -> Tensor:
    failed = cache_folder() / "rank 1 failed"
    if os.environ["RANK"] == "1":
        failed.touch()
        raise GanfixError("rank 1 failed")
    while not failed.exists():
        time.sleep(0.01)
    return torch.ones(len(images), 4)


@pytest.mark.slow
def test_what_one_rank_cannot_do_another_does(real: Path, own_cache: Path, tmp_path: Path) -> None:
    first, second = two_ranks(real, tmp_path, "--num=50", "--extractor=test_evaluate:second_fails")
    assert first.startswith("0\n50 generations, 90 real images"), first
    assert second == "1\nError: rank 1 failed\n"


def test_of_more_generations_than_are_kept_the_distance_is_of_all_and_the_rest_of_the_first(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    G, spec = dcgan(), f"{SPEC},gate=lr:50%"
    options: dict[str, Any] = {"real": real, "extractor": LOOK, "resamples": 20, "batch": 8}
    options["with_alternatives"] = True
    whole = evaluate(G, spec, latents="0-79", **options)
    first = evaluate(G, spec, latents="0-31", **options)
    monkeypatch.setattr(views, "KEPT", 32)
    bounded = evaluate(G, spec, latents="0-79", **options)
    assert (bounded.record["num"], bounded.record["num_compared"]) == (80, 32)

    distance, *others = bounded.figures
    assert distance.uncorrected == pytest.approx(whole.figures[0].uncorrected, rel=1e-6)
    assert distance.corrected == pytest.approx(whole.figures[0].corrected, rel=1e-6)
    assert distance.interval and first.figures[0].interval
    widths = [high - low for low, high in (distance.interval, first.figures[0].interval)]
    assert widths[0] == pytest.approx(widths[1])
    assert tuple(others) == first.figures[1:]
    assert bounded.measures and whole.measures
    assert bounded.measures.untouched == whole.measures.untouched
    assert bounded.alternatives.keys() == first.alternatives.keys() != {}
