"""The search of a corrector's options: what is tried, what is found, and on which images."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from prepared import EXTRACTOR, SAMPLES, error, judged, run, uncorrected
from torch import nn

from examples import EXAMPLES
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.evaluation.bench import Trial, split
from ganfix_plugin.evaluation.measures import Measures
from ganfix_plugin.evaluation.tune import Tuning, choices, proposals, tune
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, write

pytestmark = pytest.mark.slow

SPEC = f"seqabl:samples={SAMPLES}"


PGGAN = EXAMPLES / "pggan_small"
NETWORK = [f"--network={PGGAN / 'checkpoints' / 'pggan_footwear32.safetensors'}", "--host", PGGAN]


@pytest.fixture(scope="module")
def tuning(cache: Path, _pggan: nn.Module) -> Tuning:
    return tune(
        Generator.of(_pggan), parse_spec(SPEC), judged(_pggan), trials=7, extractor=EXTRACTOR
    )


def test_no_correction_comes_first_and_the_defaults_second(tuning: Tuning) -> None:
    none, defaults = tuning.trials[:2]
    assert (none.spec, none.left, none.change, none.clean.untouched) == ("", 1, 0, 1)
    assert defaults.spec == f"seqabl:samples={SAMPLES},layers=auto,rate=auto,side=low,dead=with"


def test_as_many_settings_are_tried_as_were_asked_for_each_once(tuning: Tuning) -> None:
    assert len({trial.spec for trial in tuning.trials}) == len(tuning.trials) == 1 + 7


def test_the_best_is_the_one_whose_generations_are_closest_to_clean_images(tuning: Tuning) -> None:
    assert tuning.best.overall == min(trial.overall for trial in tuning.trials[1:])


def test_the_papers_defaults_and_the_best_are_judged_on_held_out_images(tuning: Tuning) -> None:
    specs = [trial.spec for trial in tuning.held_out]
    assert specs[0] == ""
    assert specs[1].startswith("seqabl:") and "rate=0.3" in specs[1]
    assert specs[-1] == tuning.best.spec
    assert tuning.held_out[0].overall != tuning.trials[0].overall


def test_the_same_seed_finds_the_same(tuning: Tuning, pggan: nn.Module) -> None:
    again = tune(
        Generator.of(pggan), parse_spec(SPEC), judged(pggan), trials=3, extractor=EXTRACTOR
    )
    other = tune(
        Generator.of(pggan), parse_spec(SPEC), judged(pggan), trials=3, seed=1, extractor=EXTRACTOR
    )
    assert again.trials[0] == tuning.trials[0] != other.trials[0]
    assert again == tune(
        Generator.of(pggan), parse_spec(SPEC), judged(pggan), trials=3, extractor=EXTRACTOR
    )


def test_a_trial_is_what_attaching_the_setting_does(tuning: Tuning, pggan: nn.Module) -> None:
    (artifacts, normals), _, clean = split(judged(pggan), 0, with_clean=True)
    extractor = load_extractor(EXTRACTOR)
    reference = Gaussian.of(extractor.features(uncorrected(pggan, clean)))  # type: ignore[arg-type]
    spec = tuning.trials[1].spec
    with attach(pggan, spec):
        corrected = uncorrected(pggan, [*artifacts, *normals])  # type: ignore[list-item]
    features = extractor.features(corrected)
    expected = reference.distance_to_samples(features)
    assert tuning.trials[1].overall == pytest.approx(expected, rel=1e-6)
    expected = reference.distance_to_samples(features[: len(artifacts)])
    assert tuning.trials[1].artifacts == pytest.approx(expected, rel=1e-6)
    plain = uncorrected(pggan, normals)  # type: ignore[arg-type]
    change = 127.5 * (corrected[len(artifacts) :] - plain).abs().mean()
    assert tuning.trials[1].change == pytest.approx(float(change), rel=1e-4)


def test_gated_settings_leave_normals_untouched(pggan: nn.Module) -> None:
    fixed = f"{SPEC},gate=lr:50%,rate=0.3,layers=1"
    tuning = tune(
        Generator.of(pggan),
        parse_spec(f"{fixed},side=low"),
        judged(pggan),
        trials=2,
        extractor=EXTRACTOR,
    )
    assert 0 < tuning.trials[1].clean.untouched < 1


def test_the_parts_of_a_split_share_no_image(pggan: nn.Module) -> None:
    searched, held_out, clean = split(judged(pggan), 0, with_clean=True)
    samples = [*searched[0], *searched[1], *held_out[0], *held_out[1], *clean]
    assert len(samples) == len(set(samples)) == 80


@pytest.mark.parametrize(("kind", "count", "least"), [(ARTIFACT, 15, 16), (NORMAL, 31, 32)])
def test_too_few_labels_are_refused_with_the_number_needed(
    kind: str, count: int, least: int
) -> None:
    other = NORMAL if kind == ARTIFACT else ARTIFACT
    items = [Label(seed, kind if seed < count else other) for seed in range(count + 40)]
    with pytest.raises(GanfixError, match=f"found {count} labelled {kind}, expected at least"):
        split(Labels("a", tuple(items)), 0, with_clean=True)


def test_keys_that_are_given_stay_and_the_layers_are_each_alone_and_all_up_to_each(
    pggan: nn.Module,
) -> None:
    open_keys = choices(parse_spec("seqabl:rate=0.2,side=low"), Generator.of(pggan).auto)
    assert set(open_keys) == {"gate", "strength", "layers", "lowest"}
    assert open_keys["layers"] == ("", "1", "3", "5", "1+3", "1+3+5")


def trial(spec: str, overall: float, artifacts: float, change: float) -> Trial:
    """One whose other figures do not matter."""
    measures = Measures(untouched=0, change=change, identity=1, kind_kept=1, shift=0)
    return Trial(spec, overall, artifacts, 0, measures, measures)


def test_settings_are_never_proposed_twice_and_run_out() -> None:
    spec, keys = parse_spec("seqabl:rate=0.2"), {"gate": ("", "lr:50%", "lr:70%")}
    tried = [trial("", 1, 1, 0)]
    settings = list(proposals(spec, keys, tried, 9, random.Random(0)))
    assert len(set(settings)) == len(settings) == 3


def test_the_front_has_no_setting_that_another_beats_in_both() -> None:
    points = [(0, 9), (1, 5), (2, 6), (3, 4), (3, 3), (5, 3)]
    trials = tuple(trial(str(i), 0, b, a) for i, (a, b) in enumerate(points))
    front = Tuning(trials, trials[0], ()).front
    assert [point.spec for point in front] == ["0", "1", "4"]


def test_labels_of_another_network_are_refused(pggan: nn.Module, stylegan2: nn.Module) -> None:
    with pytest.raises(GanfixError, match="labels: are of another generator"):
        tune(Generator.of(pggan), parse_spec(SPEC), judged(stylegan2), extractor=EXTRACTOR)


def test_nothing_left_to_search_is_an_error(pggan: nn.Module) -> None:
    with pytest.raises(GanfixError, match="no key is left to search"):
        tune(
            Generator.of(pggan),
            parse_spec("truncation:gate=off,strength=50%"),
            judged(pggan),
            extractor=EXTRACTOR,
        )


def test_the_command_prints_the_spec_to_paste_and_writes_record_and_plot(
    tmp_path: Path, pggan: nn.Module
) -> None:
    write(judged(pggan), tmp_path / "labels.csv")
    out = tmp_path / "out"
    line = ("tune", *NETWORK, "--device=cpu", "--correct", SPEC, "--trials", 3)
    line = (*line, "--labels", tmp_path / "labels.csv", "--extractor", EXTRACTOR)
    shown = run(*line, "--out", out)
    assert shown.exit_code == 0, shown.output
    record = json.loads((out / "trials.json").read_text())
    assert record["held_out"][-1]["spec"] == record["best"]
    assert f"--correct {record['best']}" in shown.output
    assert "than seqabl by default" in shown.output
    assert len(record["trials"]) == 4
    assert sorted(path.name for path in out.iterdir()) == ["pareto.png", "trials.json"]
    again = run(*line, "--out", out, "--json")
    assert json.loads(again.stdout) == record
    assert f"written to {out}" in again.stderr


def test_a_folder_that_cannot_be_written_is_found_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert "cannot be made" in error(run("tune", *NETWORK, "--device=cpu", "--out", out))
