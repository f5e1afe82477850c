"""The figures of a judgement against a computation by hand.

Five corrected images (seeds 1 to 5) and three raters:

             labelled                          compared
    seed   ann       ben       cleo           ann       ben       cleo
    1      normal    normal    normal         improved  improved  improved
    2      normal    artifact  normal         improved  same      improved
    3      artifact  artifact  artifact       worse     improved  improved
    4      normal    artifact  skip           improved  worse     -
    5      skip      skip      normal         improved  improved  -

Corrected: ann 3 of 4 = 75 %, ben 1 of 4 = 25 %, cleo 3 of 4 = 75 %. Mean 58.33 %; away from it by
16.67, -33.33, 16.67, squares 277.78 + 1111.11 + 277.78 = 1666.67, by n - 1 = 833.33, root 28.87.

Improved: ann 4 of 5 = 80 %, ben 3 of 5 = 60 %, cleo 3 of 3 = 100 %. Mean 80 %; squares 0 + 400 +
400, by 2 = 400, root 20.

All raters say (seed 5 has one label only, so it does not count): 1 normal; 3 artifact; 2 and 4
neither. 1, 1 and 2 of 4: 25, 25 and 50 %.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepared import error, run
from raters import SPEC

from ganfix_plugin.labels import ARTIFACT, NORMAL
from ganfix_plugin.web.answers import IMPROVED, SAME, WORSE, Answer, Answers
from ganfix_plugin.web.summary import NEITHER, bars, rows, summarise


def test_corrected_and_improved_are_those_of_the_hand_computation(answers: Answers) -> None:
    summary = summarise(answers, SPEC)
    assert summary.corrected.by_rater == {"ann": 0.75, "ben": 0.25, "cleo": 0.75}
    assert summary.corrected.mean == pytest.approx(0.583333, abs=1e-6)
    assert summary.corrected.deviation == pytest.approx(0.288675, abs=1e-6)
    assert summary.improved.by_rater == pytest.approx({"ann": 0.8, "ben": 0.6, "cleo": 1.0})
    assert summary.improved.mean == pytest.approx(0.8)
    assert summary.improved.deviation == pytest.approx(0.2)


def test_unanimity_is_that_of_the_hand_computation(answers: Answers) -> None:
    assert summarise(answers, SPEC).unanimous == {NORMAL: 1, ARTIFACT: 1, NEITHER: 2}


def test_criteria_are_counted_by_themselves(answers: Answers) -> None:
    (name, share), *others = summarise(answers, SPEC).by_criterion.items()
    assert name == "face" and not others
    assert share.by_rater == pytest.approx({"ann": 1 / 5, "ben": 1 / 5, "cleo": 1 / 3})


def test_the_bars_add_up_to_one(answers: Answers) -> None:
    unanimous, compared = bars(summarise(answers, SPEC))
    assert unanimous[1] == {NORMAL: 0.25, ARTIFACT: 0.25, NEITHER: 0.5}
    same, worse = (0 + 1 / 5 + 0) / 3, (1 / 5 + 1 / 5 + 0) / 3
    assert compared[1] == pytest.approx({IMPROVED: 0.8, SAME: same, WORSE: worse})
    assert sum(compared[1].values()) == pytest.approx(1)


def test_one_rater_has_no_deviation_and_is_not_unanimous_with_himself(tmp_path: Path) -> None:
    alone = Answers(tmp_path / "alone.sqlite", "ab" * 32)
    alone.label("ann", SPEC, [Answer(1, NORMAL), Answer(2, ARTIFACT)])
    summary = summarise(alone, SPEC)
    assert str(summary.corrected) == "50.0%" and summary.corrected.deviation is None
    assert bars(summary) == []
    assert rows(summary)[1] == ("ann", "2", "50.0%", "–", "–")


def test_the_command_shows_the_table_and_draws_the_bars(answers: Answers, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bars.png"
    shown = run("judge", "--summary", f"--answers={answers.path}", f"--out={out}")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert [SPEC] in lines
    assert ["ben", "4", "25.0%", "5", "60.0%"] in lines
    assert ["mean", "±", "std", "58.3%", "±", "28.9%", "80.0%", "±", "20.0%"] in lines
    assert "█ normal 25.0%  ▒ neither 50.0%  ░ artifact 25.0%" in shown.output
    picture = np.asarray(Image.open(out))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    (told,) = json.loads(run("judge", "--summary", f"--answers={answers.path}", "--json").stdout)[
        "corrections"
    ]
    assert told["correction"] == SPEC
    assert told["corrected"]["by_rater"] == {"ann": 0.75, "ben": 0.25, "cleo": 0.75}


def test_a_summary_of_nothing_says_so(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    assert "no such file" in error(run("judge", "--summary", f"--answers={file}"))
    Answers(file, "ab" * 32).close()
    assert "nothing is judged yet" in error(run("judge", "--summary", f"--answers={file}"))


def test_a_picture_under_another_ending_is_refused(tmp_path: Path) -> None:
    refused = run("judge", "--summary", f"--answers={tmp_path / 'gone'}", "--out=bars.svg")
    assert refused.exit_code == 2 and "expected a name that ends in .png" in refused.stderr
