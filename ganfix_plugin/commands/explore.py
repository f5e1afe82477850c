"""`ganfix explore`: a page to look at what a generator makes, choose, and take it along."""

from __future__ import annotations

from pathlib import Path

import click

from ganfix_plugin.artifacts.scores import Scoring
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import NETWORK_HELP, merged, preset
from ganfix_plugin.commands.serving import Serving, serving_options
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.images import check_images
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.labels import keep

CORRECTIONS = ("steer", "seqabl", "truncation")


@main.command()
@click.option("--network", required=True, metavar="NETWORK", help=NETWORK_HELP)
@options.correct(
    "A correction to look at; of several, each by itself. [default: "
    f"those of {', '.join(CORRECTIONS)} that suit the generator]",
    required=False,
)
@serving_options
@preset(
    "--num",
    2000,
    "Generations to rank, seeds 0 on; all others can be looked at, too.",
    type=click.IntRange(1, 100_000),
)
@click.option("--real", type=options.PATH, help="Real images, a folder or zip: rank by realism.")
@options.extractor
@options.labels("Labels to tell artifacts by; they are kept, as by ganfix fit.")
@options.class_index
@options.samples("Latents for the LR count.")
def explore(
    network: str,
    specs: tuple[str, ...],
    serving: Serving,
    num: int,
    real: Path | None,
    extractor: str | None,
    files: tuple[Path, ...],
    class_index: int | None,
    samples: int | None,
) -> None:
    """Look, compare corrections, choose and take away, on a page.

    \b
    ganfix explore --network ffhq.pkl
    ganfix explore --network ffhq.pkl --correct steer --correct seqabl:lowest=30% --real ffhq.zip

    Rank thousands of seeds, compare corrections and their strength, look at the way from one image
    to another, keep what you like, and take it along: seeds, latents, images, and the command
    that makes them again. What you keep, reject and note is in --answers before the page says so.
    """
    bound = parse_specs(specs or CORRECTIONS)
    labels = merged(files) if files else None
    if real:
        check_images(real)
    elif extractor:
        raise GanfixError("--extractor: needs real images; name them by --real")
    with serving.opened(network) as (generator, answers, place, raters):
        from ganfix_plugin.web import start

        check_class(generator, class_index, needed=False)
        if labels:
            keep(labels.check(generator.fingerprint))
        scoring = Scoring(samples=samples, class_index=class_index, real=real, extractor=extractor)
        start.explore(
            *(generator, answers, place, raters, bound),
            optional=not specs,
            num=num,
            scoring=scoring,
        )
