"""Requests of the comparing page: original and corrected side by side, which one is better.

Which side is the corrected one is decided here, by a secret of the answers' file, the rater and the
seed; the page hears of left and right only.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from flask import Flask, Response, abort, g

from ganfix_plugin.web.answers import IMPROVED, OVERALL, SAME, WORSE, Answers
from ganfix_plugin.web.criteria import Criterion
from ganfix_plugin.web.labelling import UNDO, Task, asked_for, body, key_of_task, waiting
from ganfix_plugin.web.order import shuffled
from ganfix_plugin.web.renderer import Picture, Renderer

SIDES = LEFT, RIGHT = ("left", "right")
EQUAL = "same"
AHEAD = 24
_WHOLE = Criterion(OVERALL, "Which image is better, all in all?")


def corrected_side(secret: str, rater: str, correction: str, seed: int) -> str:
    """On which side a rater sees the corrected image of a seed: left for half of all seeds."""
    key = f"{secret}\n{rater}\n{correction}\n{seed}"
    return SIDES[hashlib.sha256(key.encode()).digest()[0] % 2]


def verdict(choice: str, corrected: str) -> str:
    """What the choice of a side (or "same") says about the correction, which was on one of them."""
    if choice == EQUAL:
        return SAME
    return IMPROVED if choice == corrected else WORSE


def add_judging(app: Flask, task: Task, answers: Answers, renderer: Renderer[Picture]) -> None:
    """Add the requests of the comparing page to an app."""
    questions = [_WHOLE, *task.criteria]

    def judged() -> list[int]:
        return [s for s in answers.judged(g.rater, task.correction) if s in task.seeds]

    def relabelled() -> None:
        """Whoever has seen the originals can no longer label the corrected images blindly."""
        if left := len(waiting(task, answers, g.rater)):
            abort(409, f"{left} images wait for the first question; answer that one first")

    @app.get("/<rater>/pairs/state")
    def pairs_state(rater: str) -> dict[str, Any]:
        relabelled()
        return {
            "done": len(judged()),
            "rater": rater,
            "total": len(task.seeds),
            "questions": [asdict(question) for question in questions],
            "recent": judged()[-UNDO:],
            "key": key_of_task(answers, f"{task.correction}/pairs"),
        }

    @app.get("/<rater>/pairs/queue")
    def pairs_queue(rater: str) -> dict[str, Any]:
        relabelled()
        done = set(judged())
        order = shuffled(list(task.seeds), answers.secret, rater, task.correction, "pairs")
        seeds = [seed for seed in order if seed not in done][: asked_for(AHEAD)]
        renderer.prefetch(Picture(seed, corrected) for seed in seeds for corrected in (False, True))
        return {"seeds": seeds}

    @app.get("/<rater>/pairs/images/<int:seed>/<side>.png")
    def pairs_image(rater: str, seed: int, side: str) -> Response:
        if side not in SIDES:
            abort(404)
        relabelled()
        corrected = side == corrected_side(answers.secret, rater, task.correction, seed)
        return Response(renderer.png(Picture(seed, corrected)), content_type="image/png")

    @app.post("/<rater>/pairs/answers")
    def pairs_answer(rater: str) -> dict[str, Any]:
        seed, choices = _read_choices(body(), task, questions)
        relabelled()
        side = corrected_side(answers.secret, rater, task.correction, seed)
        verdicts = {name: verdict(choice, side) for name, choice in choices.items()}
        answers.judge(rater, task.correction, seed, verdicts)
        return {"done": len(judged())}

    @app.delete("/<rater>/pairs/answers/<int:seed>")
    def pairs_undo(rater: str, seed: int) -> dict[str, Any]:
        answers.take_back("verdicts", rater, task.correction, seed)
        return {"done": len(judged())}


def _read_choices(body: Any, task: Task, questions: list[Criterion]) -> tuple[int, dict[str, str]]:
    """The seed and the choices in a request, or an end of the request with status 400."""
    if not isinstance(body, dict) or set(body) != {"seed", "choices"}:
        abort(400, "expected an object with seed and choices")
    seed, choices = body["seed"], body["choices"]
    if type(seed) is not int or seed not in task.seeds:
        abort(400, "expected one of the seeds to compare")
    if not isinstance(choices, dict) or set(choices) != {item.name for item in questions}:
        abort(400, "expected a choice for each question")
    if not all(item in (*SIDES, EQUAL) for item in choices.values()):
        abort(400, f"expected choices of {', '.join((*SIDES, EQUAL))}")
    return seed, choices
