"""The answers' file: what is in it after every way of answering, undoing and going away."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Thread

import pytest

from ganfix_plugin import GanfixError
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label
from ganfix_plugin.web.answers import (
    IMPROVED,
    KEPT,
    OVERALL,
    REJECTED,
    SAME,
    SKIP,
    WORSE,
    Answer,
    Answers,
    Choice,
)

MARK = "ab" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def answers(file: Path) -> Answers:
    return Answers(file, MARK)


def test_an_answer_is_in_the_file_as_soon_as_it_was_given(file: Path, answers: Answers) -> None:
    answers.label("ann", "", [Answer(3, ARTIFACT, "hair")])
    assert Answers(file).labelled("ann", "") == [Answer(3, ARTIFACT, "hair")]


def test_a_later_word_replaces_the_earlier_one_and_is_the_last_one_given(answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, NORMAL), Answer(2, NORMAL)])
    answers.label("ann", "", [Answer(1, ARTIFACT)])
    assert answers.labelled("ann", "") == [Answer(2, NORMAL), Answer(1, ARTIFACT)]


def test_taking_back_an_answer_twice_is_as_good_as_once(answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, NORMAL), Answer(2, NORMAL)])
    answers.take_back("labels", "ann", "", 1)
    answers.take_back("labels", "ann", "", 1)
    assert answers.labelled("ann", "") == [Answer(2, NORMAL)]


def test_of_several_answers_all_or_none_are_kept(answers: Answers) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        answers.label("ann", "", [Answer(1, NORMAL), Answer(2, "perhaps")])
    assert answers.labelled("ann", "") == []


def test_raters_and_corrections_do_not_mix(answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, ARTIFACT)])
    answers.label("ben", "", [Answer(1, NORMAL)])
    answers.label("ann", "seqabl", [Answer(1, NORMAL)])
    assert answers.labelled("ann", "") == [Answer(1, ARTIFACT)]
    assert answers.labels().items == (Label(1, ARTIFACT, "ann"), Label(1, NORMAL, "ben"))
    assert answers.labels("seqabl").items == (Label(1, NORMAL, "ann"),)


def test_skipped_images_are_no_labels(answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, SKIP), Answer(2, NORMAL)])
    assert [item.seed for item in answers.labels().items] == [2]


def test_verdicts_are_kept_by_criterion_and_taken_back_by_pair(answers: Answers) -> None:
    answers.judge("ann", "seqabl", 5, {OVERALL: IMPROVED, "face": SAME})
    answers.judge("ann", "seqabl", 6, {OVERALL: WORSE, "face": SAME})
    answers.judge("ann", "seqabl", 5, {OVERALL: WORSE, "face": IMPROVED})
    assert answers.judged("ann", "seqabl") == [6, 5]
    answers.take_back("verdicts", "ann", "seqabl", 6)
    kept = {(each.seed, each.criterion, each.verdict) for each in answers.verdicts("seqabl")}
    assert kept == {(5, OVERALL, WORSE), (5, "face", IMPROVED)}


def test_threads_that_answer_at_once_lose_nothing(file: Path, answers: Answers) -> None:
    def work(rater: str) -> None:
        for seed in range(50):
            answers.label(rater, "", [Answer(seed, NORMAL)])

    threads = [Thread(target=work, args=(f"rater{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Answers(file).labels().items) == 200


def test_two_processes_may_use_one_file(file: Path, answers: Answers) -> None:
    other = Answers(file, MARK)
    answers.label("ann", "", [Answer(1, NORMAL)])
    other.label("ben", "", [Answer(1, NORMAL)])
    assert len(answers.labels().items) == len(other.labels().items) == 2


def test_the_secret_stays_the_same_and_is_another_one_in_another_file(
    file: Path, answers: Answers, tmp_path: Path
) -> None:
    assert len(answers.secret) == 32
    assert Answers(file, MARK).secret == answers.secret
    assert Answers(tmp_path / "other.sqlite", MARK).secret != answers.secret


def test_scores_are_kept_by_what_computed_them(answers: Answers) -> None:
    answers.keep_scores("lr: of 100 latents", {0: 5.0, 1: 7.0})
    answers.keep_scores("lr: of 200 latents", {0: 6.0})
    assert answers.scores("lr: of 100 latents") == {0: 5.0, 1: 7.0}
    assert answers.scores("realism") == {}


def test_a_later_choice_replaces_the_earlier_one_and_an_empty_one_is_none(answers: Answers) -> None:
    answers.choose("ann", [Choice(3, KEPT), Choice(4, REJECTED, "two left shoes")])
    answers.choose("ann", [Choice(3, "", "a note alone"), Choice(5, ""), Choice(4, KEPT)])
    answers.choose("ben", [Choice(3, REJECTED)])
    assert answers.chosen("ann") == [Choice(3, "", "a note alone"), Choice(4, KEPT)]


def test_choices_are_labels_only_where_somebody_asks_for_them(answers: Answers) -> None:
    answers.choose("ann", [Choice(3, KEPT), Choice(4, REJECTED), Choice(5, "", "hm")])
    assert answers.labels().items == ()
    assert answers.chosen_labels().items == (Label(3, NORMAL, "ann"), Label(4, ARTIFACT, "ann"))


def test_answers_about_another_generator_are_refused(file: Path, answers: Answers) -> None:
    with pytest.raises(GanfixError, match="are about another generator"):
        Answers(file, "cd" * 32)


def test_what_is_no_file_of_answers_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "labels.csv", tmp_path / "other.sqlite"
    text.write_text("seed,label\n" * 200)
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    for path in (text, other, tmp_path):
        before = path.read_bytes() if path.is_file() else b""
        refused = r"answers .*: (cannot be (used|read)|is a database of some)"
        with pytest.raises(GanfixError, match=refused):
            Answers(path, MARK)
        assert not path.is_file() or path.read_bytes() == before


def test_a_file_that_is_not_there_is_made_for_a_generator_only(file: Path) -> None:
    with pytest.raises(GanfixError, match="no such file"):
        Answers(file)
    assert not file.exists()


def test_a_new_file_is_for_its_owner_only(file: Path, answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, NORMAL)])
    assert {path.stat().st_mode & 0o777 for path in file.parent.glob(f"{file.name}*")} == {0o600}


def test_a_full_disk_is_an_error_of_one_line_and_loses_nothing(answers: Answers) -> None:
    answers.label("ann", "", [Answer(1, NORMAL)])
    (pages,) = answers._db.execute("PRAGMA page_count").fetchone()
    answers._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(GanfixError, match=r"cannot be written \(database or disk is full\)$"):
        answers.label("ann", "", [Answer(seed, NORMAL, "x" * 500) for seed in range(2, 50)])
    answers._db.execute("PRAGMA max_page_count = 1000000")
    answers.label("ann", "", [Answer(2, ARTIFACT)])
    assert answers.labelled("ann", "") == [Answer(1, NORMAL), Answer(2, ARTIFACT)]


def test_a_file_that_is_damaged_later_is_an_error_of_one_line(file: Path, answers: Answers) -> None:
    answers.label("ann", "", [Answer(seed, NORMAL, "x" * 90) for seed in range(900)])
    answers.close()
    content = bytearray(file.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(GanfixError, match=r"^answers \S+: cannot be .*\)$"):
        Answers(file).labels()
