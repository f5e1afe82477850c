"""Requests of the exploring page: rankings, images, paths, choices."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import Flask, Response, abort, g, request, send_file
from PIL import Image

from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.labels import LAST_SEED, seeds_of, seeds_text
from ganfix_plugin.pictures.palette import difference
from ganfix_plugin.web import takeaway
from ganfix_plugin.web.answers import CHOICES, KEPT, Answers, Choice
from ganfix_plugin.web.controls import asked_specs, sliders
from ganfix_plugin.web.labelling import AHEAD, body, key_of_task
from ganfix_plugin.web.order import shuffled
from ganfix_plugin.web.population import Population
from ganfix_plugin.web.renderer import Renderer, as_png
from ganfix_plugin.web.studio import Shot, Studio

ENDS = HIGH, LOW, RANDOM = ("high", "low", "random")
VIEWS = IMAGE, CHANGE, HEAT = ("image", "change", "heat")
LONGEST_NOTE = 500
MOST_FRAMES = 600  # of a path


@dataclass(frozen=True)
class Exploration:
    """What is explored: a generator, the corrections to choose from, a population and a score to
    rank it by at first."""

    studio: Studio
    specs: tuple[BoundSpec, ...]
    population: Population
    by: str


def add_exploring(
    app: Flask, exploration: Exploration, answers: Answers, renderer: Renderer[Shot]
) -> None:
    """Add the requests of the exploring page to an app."""
    studio, population = exploration.studio, exploration.population

    def chosen_specs() -> tuple[BoundSpec, ...]:
        return asked_specs(exploration.specs)

    def picture(shot: Shot) -> Image.Image:
        return Image.open(io.BytesIO(renderer.png(shot)))

    def apart(one: Shot, other: Shot) -> float:
        """How much two images differ: mean absolute difference of their pixels, of 255."""
        a, b = (np.asarray(picture(shot), dtype=np.float32) for shot in (one, other))
        return float(np.abs(a - b).mean())

    def npz(make: Callable[[], bytes]) -> Response:
        """Latents, or status 409 where a correction is one that they cannot carry."""
        try:
            content = renderer.now(make)
        except GanfixError as error:
            abort(409, str(error))
        return Response(content, content_type="application/octet-stream")

    def taken() -> list[int]:
        """The seeds that are asked for, or else those that the rater kept."""
        if text := request.args.get("seeds", ""):
            return asked_seeds(text)
        return [item.seed for item in answers.chosen(g.rater) if item.choice == KEPT]

    @app.before_request
    def check_seed() -> None:
        if (request.view_args or {}).get("seed", 0) > LAST_SEED:
            abort(404)

    @app.get("/<rater>/state")
    def state(rater: str) -> dict[str, Any]:
        return {
            "rater": rater,
            "generator": f"{studio.generator.name} {answers.generator[:8]}",
            "total": len(population.seeds),
            "last_seed": LAST_SEED,
            "scores": [{"name": name, "title": title} for name, title in population.names.items()],
            "by": exploration.by,
            "corrections": [
                {
                    "name": spec.corrector.name,
                    "text": str(spec),
                    "help": spec.corrector.help,
                    "options": sliders(spec),
                }
                for spec in exploration.specs
            ],
            "choices": {item.seed: [item.choice, item.note] for item in answers.chosen(rater)},
            "key": key_of_task(answers, "explore"),
        }

    @app.get("/<rater>/order")
    def order(rater: str) -> dict[str, Any]:
        by, end = _one_of("by", [*population.names]), _one_of("end", ENDS)
        scored, ranking = population.scored(by), population.ranking(by)
        seeds = list(ranking.seeds) if ranking else []
        done = len(seeds)  # of the order that is sent: more may be scored by now
        if scored.failed:
            seeds = list(population.seeds)
        if end == RANDOM:
            seeds = shuffled(population.seeds, answers.secret, "explore")
        seeds = seeds[::-1] if end == LOW else seeds
        about = {"done": done, "total": len(population.seeds), "failed": scored.failed}
        if score := scored.score:
            about |= {"how": score.how, "word": score.word}
        return {"seeds": seeds, **about}

    @app.get("/<rater>/images/<int:seed>.png")
    def image(rater: str, seed: int) -> Response:
        view, specs = _one_of("view", VIEWS), chosen_specs()
        before, after = Shot((seed,)), Shot((seed,), specs=specs)
        if view == CHANGE:
            content = as_png(difference(picture(before), picture(after)))
        elif view == HEAT:
            by = _one_of("by", [*population.names])
            content = renderer.png(Shot((seed,), heat=by))
        else:
            small = studio.large and "small" in request.args
            content = renderer.png(Shot((seed,), specs=specs, small=small))
        return Response(content, content_type="image/png")

    @app.get("/<rater>/seeds/<int:seed>")
    def about(rater: str, seed: int) -> dict[str, Any]:
        """By each score that was asked for so far, and how much a correction changes."""
        rows = []
        for name, title in population.names.items():
            if place := population.place(name, seed) if population.begun(name) else None:
                rows.append({"title": title, "value": place[0], "percentile": place[1]})
        specs = chosen_specs()
        change = apart(Shot((seed,)), Shot((seed,), specs=specs)) if specs else None
        return {"scores": rows, "change": change}

    @app.get("/<rater>/path/<int:frame>.png")
    def path_image(rater: str, frame: int) -> Response:
        shot = asked_frame(frame, chosen_specs())
        return Response(renderer.png(shot), content_type="image/png")

    @app.get("/<rater>/path/<int:frame>")
    def path_jump(rater: str, frame: int) -> dict[str, float]:
        """How much a frame differs from the one before it, uncorrected and corrected."""
        if not frame:
            abort(404)
        sides = {"before": (), "after": chosen_specs()}
        return {
            side: apart(asked_frame(frame - 1, specs), asked_frame(frame, specs))
            for side, specs in sides.items()
        }

    @app.post("/<rater>/choices")
    def choose(rater: str) -> dict[str, Any]:
        answers.choose(rater, _read_choices(body()))
        return {}

    @app.get("/<rater>/take")
    def take(rater: str) -> dict[str, Any]:
        seeds, specs = taken(), chosen_specs()
        lines = takeaway.commands(studio, seeds, specs) if seeds else []
        commands = [{"what": what, "command": line} for what, line in lines]
        return {"count": len(seeds), "seeds": seeds_text(seeds), "commands": commands}

    @app.get("/<rater>/take/seeds.txt")
    def take_seeds(rater: str) -> Response:
        return Response(f"{seeds_text(taken())}\n", content_type="text/plain; charset=utf-8")

    @app.get("/<rater>/take/w.npz")
    def take_latents(rater: str) -> Response:
        seeds, specs = _some(taken()), chosen_specs()
        return npz(lambda: takeaway.latents(studio, seeds, specs))

    @app.get("/<rater>/path/w.npz")
    def take_path(rater: str) -> Response:
        path = asked_frame(0, chosen_specs())
        return npz(lambda: takeaway.path_latents(studio, path))

    @app.get("/<rater>/take/images.zip")
    def take_images(rater: str) -> Response:
        def draw(shot: Shot) -> tuple[bytes, bool]:
            return renderer.now(lambda: studio.counted(shot))

        contents = takeaway.files(draw, studio, _some(taken()), chosen_specs())
        return send_file(takeaway.archive(contents), mimetype="application/zip")


def asked_seeds(text: str) -> list[int]:
    """Seeds in a request, or an end of the request with status 400."""
    if len(text) > 4000 or "-" in text:
        abort(400, "seeds: expected some, such as 1,5,8")
    try:
        return seeds_of(text)
    except ValueError as error:
        abort(400, f"seeds: {error}")


def asked_frame(frame: int, specs: tuple[BoundSpec, ...]) -> Shot:
    """A frame of the path that a request describes."""
    seeds, per = asked_seeds(request.args.get("seeds", "")), request.args.get("per", "12")
    if len(seeds) < 2 or not (per.isdecimal() and 1 <= int(per) <= MOST_FRAMES):
        abort(400, f"expected seeds, at least 2, and per, 1 to {MOST_FRAMES}")
    if not frame <= (len(seeds) - 1) * int(per) <= MOST_FRAMES:
        abort(400, f"a path has at most {MOST_FRAMES} frames, and ends with its last seed")
    return Shot(tuple(seeds), frame, int(per), specs)


def _one_of(name: str, allowed: Sequence[str]) -> str:
    """A word in a request, the first of the allowed ones by default."""
    word = request.args.get(name, allowed[0])
    if word not in allowed:
        abort(400, f"{name}: expected {', '.join(allowed)}")
    return word


def _some(seeds: list[int]) -> list[int]:
    return seeds or abort(409, "nothing is kept yet")


def _read_choices(items: Any) -> list[Choice]:
    """The choices in a request, or an end of the request with status 400."""
    if not isinstance(items, list) or not 1 <= len(items) <= AHEAD:
        abort(400, f"expected a list of 1 to {AHEAD} choices")
    for item in items:
        if not isinstance(item, dict) or set(item) != {"seed", "choice", "note"}:
            abort(400, "expected choices with seed, choice and note")
        if type(item["seed"]) is not int or not 0 <= item["seed"] <= LAST_SEED:
            abort(400, "expected a seed")
        if not isinstance(item["choice"], str) or item["choice"] not in CHOICES:
            abort(400, f"expected a choice of {', '.join(filter(None, CHOICES))} or an empty one")
        if not isinstance(item["note"], str) or len(item["note"]) > LONGEST_NOTE:
            abort(400, f"expected a note of at most {LONGEST_NOTE} letters")
    return [Choice(**item) for item in items]
