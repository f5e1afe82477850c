"""Requests of the labelling page: what is to be done, images, answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flask import Flask, Response, abort, g, request

from ganfix_plugin.web.answers import ANSWERS, Answer, Answers
from ganfix_plugin.web.criteria import Criterion
from ganfix_plugin.web.renderer import Picture, Renderer

AHEAD = 96  # the most that a page may ask for at once
UNDO = 100  # answers that can be taken back after a reload


@dataclass(frozen=True)
class Task:
    """What raters are asked to label.

    Attributes:
        generator: its class and the beginning of its fingerprint.
        correction: the canonical spec of what corrects the images, or "".
        order: from a rater to the seeds in the order in which they come.
        criteria: by which an image can be an artifact; may be empty.
        answered: called after every change.
    """

    generator: str
    correction: str
    seeds: frozenset[int]
    order: Callable[[str], Sequence[int]]
    criteria: tuple[Criterion, ...]
    answered: Callable[[], None] = lambda: None


def add_labelling(app: Flask, task: Task, answers: Answers, renderer: Renderer[Picture]) -> None:
    """Add the requests of the labelling page to an app."""
    corrected = bool(task.correction)

    def labelled() -> list[Answer]:
        return [a for a in answers.labelled(g.rater, task.correction) if a.seed in task.seeds]

    def counts() -> dict[str, Any]:
        numbers = Counter(item.answer for item in labelled())
        return {"counts": {answer: numbers[answer] for answer in ANSWERS}}

    def change() -> None:
        if answers.judged(g.rater, task.correction):
            abort(409, "these answers are final, since the next question has begun")

    @app.before_request
    def check_seed() -> None:
        seed = (request.view_args or {}).get("seed")
        if seed is not None and seed not in task.seeds:
            abort(404)

    @app.get("/<rater>/state")
    def state(rater: str) -> dict[str, Any]:
        return {
            **counts(),
            "title": "Artifact or normal?" if corrected else "Label generations",
            "rater": rater,
            "generator": task.generator,
            "total": len(task.seeds),
            "criteria": [asdict(criterion) for criterion in task.criteria],
            "recent": [asdict(item) for item in labelled()[-UNDO:]],
            "next_page": "pairs" if corrected else "",
            "blind": corrected,
            "key": key_of_task(answers, task.correction),
        }

    @app.get("/<rater>/queue")
    def queue(rater: str) -> dict[str, Any]:
        seeds = waiting(task, answers, rater)[: asked_for(AHEAD)]
        renderer.prefetch(Picture(seed, corrected) for seed in seeds)
        return {"seeds": seeds}

    @app.get("/<rater>/images/<int:seed>.png")
    def image(rater: str, seed: int) -> Response:
        picture = Picture(seed, corrected, "small" in request.args)
        return Response(renderer.png(picture), content_type="image/png")

    @app.post("/<rater>/answers")
    def answer(rater: str) -> dict[str, Any]:
        items = _read_answers(body(), task)
        change()
        answers.label(rater, task.correction, items)
        task.answered()
        return counts()

    @app.delete("/<rater>/answers/<int:seed>")
    def undo(rater: str, seed: int) -> dict[str, Any]:
        change()
        answers.take_back("labels", rater, task.correction, seed)
        task.answered()
        return counts()


def waiting(task: Task, answers: Answers, rater: str) -> list[int]:
    """The seeds that a rater has still to label, in the rater's order."""
    done = {item.seed for item in answers.labelled(rater, task.correction)}
    return [seed for seed in task.order(rater) if seed not in done]


def _read_answers(body: Any, task: Task) -> list[Answer]:
    """The answers in a request, or an end of the request with status 400."""
    if not isinstance(body, list) or not 1 <= len(body) <= AHEAD:
        abort(400, f"expected a list of 1 to {AHEAD} answers")
    names = {"", *(criterion.name for criterion in task.criteria)}
    items = []
    for item in body:
        if not isinstance(item, dict) or set(item) != {"seed", "answer", "criterion"}:
            abort(400, "expected answers with seed, answer and criterion")
        seed, answer, criterion = item["seed"], item["answer"], item["criterion"]
        if type(seed) is not int or seed not in task.seeds:
            abort(400, f"{seed!r} is none of the seeds to label")
        if not isinstance(answer, str) or answer not in ANSWERS:
            abort(400, f"expected an answer of {', '.join(ANSWERS)}")
        if not isinstance(criterion, str) or criterion not in names:
            abort(400, "expected one of the criteria, or an empty one")
        items.append(Answer(seed, answer, criterion))
    return items


def body() -> Any:
    """What the request says in JSON; anything else ends it with status 400 or 415."""
    try:
        return request.get_json()
    except RecursionError:
        abort(400, "nested too deeply")


def asked_for(most: int) -> int:
    """How many items the request asks for, or an end of the request with status 400."""
    text = request.args.get("n", "24")
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= most):
        abort(400, f"n: expected 1 to {most}")
    return int(text)


def key_of_task(answers: Answers, correction: str) -> str:
    """Under what a browser keeps answers that are not saved yet: another task has another key."""
    text = f"{answers.generator} {answers.secret} {correction}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
