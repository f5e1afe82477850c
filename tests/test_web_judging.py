"""The two questions of `ganfix judge`, asked of a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from generators import dcgan
from prepared import error, run
from served import NETWORK, Client, Served, served

from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.generators.generator import fingerprint
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, write
from ganfix_plugin.web.answers import IMPROVED, OVERALL, SAME, WORSE, Answer, Answers
from ganfix_plugin.web.judging import EQUAL, LEFT, RIGHT, corrected_side, verdict

pytestmark = pytest.mark.slow

SPEC = "random:of=units,portion=50%"
SEEDS = [3, 5, 8, 13, 21, 34]
CRITERIA = ("face", "hair", "neck", "background")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers that call SEEDS artifacts, and two others normal."""
    path = tmp_path_factory.mktemp("judging") / "answers.sqlite"
    answers = Answers(path, fingerprint(dcgan()))
    answers.label("ann", "", [*(Answer(seed, ARTIFACT) for seed in SEEDS), Answer(1, NORMAL)])
    answers.close()
    return path


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Served]:
    where = (f"--correct={SPEC}", f"--answers={file}", "--criteria=faces")
    with served("judge", *where, raters="ann,ben,cleo,dora") as found:
        yield found


def relabel(client: Client, seeds: list[int] = SEEDS) -> None:
    """Answer the first question."""
    assert client.label(*((seed, NORMAL) for seed in seeds)).status == 200


def choices(overall: str, others: str = EQUAL) -> dict[str, str]:
    return {OVERALL: overall, **{name: others for name in CRITERIA}}


def test_what_was_labelled_artifact_is_judged_in_an_order_of_each_raters_own(
    server: Served,
) -> None:
    orders = [server.client(name).get("queue").json["seeds"] for name in ("ann", "ben", "cleo")]
    assert all(sorted(order) == SEEDS for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_the_first_question_shows_corrected_images_and_does_not_say_so(server: Served) -> None:
    ann = server.client("ann")
    state = ann.get("state")
    assert b"correct" not in state.body and b"random" not in state.body
    assert state.json["title"] == "Artifact or normal?"


def test_originals_are_not_shown_before_the_first_question_is_answered(server: Served) -> None:
    ann = server.client("ann")
    body = {"seed": SEEDS[0], "choices": choices(LEFT)}
    for reply in (
        ann.get("pairs/state"),
        ann.get("pairs/queue"),
        ann.get(f"pairs/images/{SEEDS[0]}/left.png"),
        ann.ask("POST", "pairs/answers", body),
    ):
        assert reply.status == 409


def test_the_sides_are_the_original_and_the_corrected_image_of_the_seed(
    server: Served, file: Path
) -> None:
    ben = server.client("ben")
    relabel(ben)
    answers = Answers(file)
    (correction,) = answers.corrections()
    for seed in SEEDS:
        corrected = ben.get(f"images/{seed}.png").body
        shown = {side: ben.get(f"pairs/images/{seed}/{side}.png").body for side in (LEFT, RIGHT)}
        side = corrected_side(answers.secret, "ben", correction, seed)
        assert shown.pop(side) == corrected
        assert shown.popitem()[1] != corrected
    many = {corrected_side(answers.secret, "ben", correction, seed) for seed in range(100)}
    assert many == {LEFT, RIGHT}


def test_a_choice_is_kept_as_what_it_says_of_the_correction(server: Served, file: Path) -> None:
    cleo = server.client("cleo")
    relabel(cleo)
    answers = Answers(file)
    (correction,) = answers.corrections()
    for seed in SEEDS:
        body = {"seed": seed, "choices": choices(LEFT, RIGHT)}
        assert cleo.ask("POST", "pairs/answers", body).status == 200
    kept = {
        (each.seed, each.criterion): each.verdict
        for each in answers.verdicts(correction)
        if each.rater == "cleo"
    }
    for seed in SEEDS:
        left = corrected_side(answers.secret, "cleo", correction, seed) == LEFT
        assert kept[seed, OVERALL] == (IMPROVED if left else WORSE)
        assert all(kept[seed, name] == (WORSE if left else IMPROVED) for name in CRITERIA)
    assert cleo.get("pairs/queue").json["seeds"] == []
    assert cleo.label((SEEDS[0], ARTIFACT)).status == 409, "the first question is closed"
    for seed in SEEDS:
        assert cleo.ask("DELETE", f"pairs/answers/{seed}").json["done"] < len(SEEDS)
    assert cleo.label((SEEDS[0], ARTIFACT)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"seed": SEEDS[0]},
        {"seed": 1, "choices": choices(LEFT)},
        {"seed": True, "choices": choices(LEFT)},
        {"seed": SEEDS[0], "choices": {OVERALL: LEFT}},
        {"seed": SEEDS[0], "choices": choices("improved")},
        {"seed": SEEDS[0], "choices": {**choices(LEFT), "nose": LEFT}},
        {"seed": SEEDS[0], "choices": {**choices(LEFT), "face": [LEFT]}},
        {"seed": SEEDS[0], "choices": [LEFT]},
        b"[" * 60_000,
    ],
    ids=lambda body: repr(body)[:50],
)
def test_a_malformed_choice_is_refused(server: Served, body: object) -> None:
    assert server.client("dora").ask("POST", "pairs/answers", body).status == 400


@pytest.mark.parametrize("path", ["1/left", "3/corrected", "3/../left", "x/left"])
def test_there_are_no_other_images(server: Served, path: str) -> None:
    assert server.client("dora").get(f"pairs/images/{path}.png").status == 404


def test_sides_depend_on_secret_rater_correction_and_seed_and_are_halved() -> None:
    def left(secret: str, rater: str, correction: str) -> list[bool]:
        sides = (corrected_side(secret, rater, correction, seed) for seed in range(1000))
        return [side == LEFT for side in sides]

    first = left("s", "ann", "none")
    assert first == left("s", "ann", "none")
    for other in (("t", "ann", "none"), ("s", "ben", "none"), ("s", "ann", "seqabl")):
        same = sum(a == b for a, b in zip(first, left(*other)))
        assert 430 < same < 570
    assert 430 < sum(first) < 570


def test_a_verdict_is_about_the_corrected_side() -> None:
    assert verdict(LEFT, LEFT) == verdict(RIGHT, RIGHT) == IMPROVED
    assert verdict(LEFT, RIGHT) == verdict(RIGHT, LEFT) == WORSE
    assert verdict(EQUAL, LEFT) == verdict(EQUAL, RIGHT) == SAME


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "judge: give --network and --correct, or --summary"),
        ((NETWORK[0],), "judge: give --network and --correct, or --summary"),
        ((*NETWORK, "--correct=none", "--json"), "--out, --json: are of what was found"),
        ((*NETWORK, "--correct=frq"), "--correct frq: unknown corrector"),
        ((*NETWORK, "--correct=none", "--labels=missing.csv"), "labels missing.csv: no such file"),
        ((*NETWORK, "--correct=none"), "nothing is labelled artifact there; run ganfix label"),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    file = tmp_path / "answers.sqlite"
    assert reason in error(run("judge", "--port=0", f"--answers={file}", *arguments))


def test_labels_of_another_generator_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    write(Labels("f" * 64, (Label(1, ARTIFACT),)), table)
    where = ("--port=0", f"--answers={tmp_path / 'a.sqlite'}", f"--labels={table}")
    assert "are of another generator" in error(run("judge", *NETWORK, "--correct=none", *where))


def test_the_correction_is_kept_as_its_canonical_spec(server: Served, file: Path) -> None:
    relabel(server.client("dora"))
    assert Answers(file).corrections() == [str(parse_spec(SPEC))]
