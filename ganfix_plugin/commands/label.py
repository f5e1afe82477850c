"""`ganfix label`: people say which generations are artifacts."""

from __future__ import annotations

from typing import Any

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import NETWORK_HELP, preset
from ganfix_plugin.commands.serving import Serving, criteria_option, serving_options
from ganfix_plugin.web.criteria import Criterion


@main.command()
@click.option("--network", required=True, metavar="NETWORK", help=NETWORK_HELP)
@serving_options
@criteria_option
@preset("--num", 2000, "Generations to label, seeds 0 on.", type=click.IntRange(1, 100_000))
@preset(
    "--order",
    "informative",
    "The generations that teach a probe most come first; or any, so that the labels "
    "estimate the share of artifacts however far you get.",
    type=click.Choice(["informative", "random"]),
)
@options.samples("Latents for the LR count.")
def label(
    network: str, serving: Serving, criteria: tuple[Criterion, ...], num: int, **how: Any
) -> None:
    """Label generations as artifact or normal, on a page in your browser, by keyboard.

    \b
    ganfix label --network ffhq.pkl --criteria faces
    ganfix labels export answers.sqlite --out labels.csv
    ganfix fit --network ffhq.pkl --labels labels.csv

    Every answer is on disk before the page says so: stop the server, close the page, go on later.
    """
    with serving.opened(network) as served:
        from ganfix_plugin.web import start

        start.label(*served, num=num, criteria=criteria, **how)
