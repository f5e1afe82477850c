"""`ganfix list`, `layers` and `profile`: what is installed, what a generator is, what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any

import click

import ganfix_plugin as ganfix
from ganfix_plugin import registry
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import EXISTING_FOLDER, FILE, Network, preset, tell
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.files import ready
from ganfix_plugin.profiling.rates import import_rates as read_rates
from ganfix_plugin.spec import Options, key_of, option_text

LIMITS = (0, 0.1, 0.3, 0.5)  # activation rates up to which neurons are counted for people


@main.command("list")
def list_command() -> None:
    """List the correctors with their options, adapters, hosts and feature extractors."""
    shared = fields(Options)
    names = {field.name for field in shared}
    click.echo("Correctors (--correct NAME[:key=value,…])")
    for name in registry.names(registry.CORRECTORS):
        origin = registry.origin(registry.entry(registry.CORRECTORS, name))
        corrector = correctors.load(name)
        click.echo(f"\n  {name}: {corrector.help}  [{origin}]")
        _show_keys([field for field in fields(corrector.options) if field.name not in names])
    click.echo("\n  Keys that all of them have:")
    _show_keys(shared)
    groups = (registry.ADAPTERS, registry.HOSTS, registry.EXTRACTORS)
    for title, group in zip(("Adapters", "Hosts", "Feature extractors"), groups):
        click.echo(f"\n{title}")
        for name in registry.names(group):
            titled = group != registry.EXTRACTORS
            about = f"{name}: {registry.load(group, name).title}" if titled else name
            click.echo(f"  {about}  [{registry.origin(registry.entry(group, name))}]")


def _show_keys(declared: Sequence[Field[Any]]) -> None:
    for field in declared:
        default = option_text(field.default)
        text = field.metadata["help"] + (default and f" [default: {default}]")
        click.echo(click.formatting.wrap_text(text, 96, f"    {key_of(field):<11}", " " * 15))


@main.command()
@options.network
@options.as_json
def layers(network: Network, as_json: bool) -> None:
    """Show the numbered layers of a generator; * marks the default ones."""
    with network.opened() as generator:
        rows = []
        for layer in generator.layers:
            size = "x".join(map(str, layer.resolution))
            mark = "*" if layer in generator.auto else ""
            rows.append((layer.index, layer.name, layer.channels, size, mark))
        adapter = generator.adapter
        record = {
            "generator": generator.fingerprint,
            "adapter": adapter.name,
            "auto": [layer.index for layer in generator.auto],
            "layers": [asdict(layer) for layer in generator.layers],
        }
        heading = f"{generator.name}, adapter {adapter.name}: {adapter.title}"
        tell(as_json, record, heading, table(("layer", "module", "units", "resolution", ""), *rows))


@main.command()
@options.network
@preset("--layers", "auto", "auto, all, 0+1+3 or 4x4+8x8.")
@options.samples("Number of latents.")
@preset("--seed", 0, "Seed of the latents.")
@click.option("--class", "class_index", type=click.IntRange(0), help="Measure this class only.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Latents per pass. [default: what suits the device]",
)
@options.exact
@click.option(
    "--import-rates",
    type=EXISTING_FOLDER,
    metavar="DIR",
    help="Instead of measuring, read rate_layer{i}_{dataset}_{model}.npy, the files of the code "
    "released with the IJCAI 2022 paper.",
)
@preset("--dataset", "ffhq", "{dataset} of those files.")
@preset("--model", "stylegan2", "{model} of those files.")
@click.option(
    "--out", type=FILE, help="Also write the profile here, for --correct NAME:profile=FILE."
)
@options.as_json
def profile(
    network: Network,
    import_rates: Path | None,
    dataset: str,
    model: str,
    out: Path | None,
    exact: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure how often each neuron of a generator is active, and keep it.

    --correct does this by itself on first use; this command is for choosing the settings, and for
    a look at the rates.
    """
    if out:
        ready(out)
    with network.opened() as generator:
        if not import_rates:
            measured = ganfix.profile(
                generator.G, exact=exact, adapter=generator.adapter.name, **settings
            )
        elif out:
            measured = read_rates(generator, import_rates, dataset, model)
        else:
            raise GanfixError("--import-rates: say by --out FILE where to write the profile")
        header = ("layer", "resolution", "never active", "rate ≤ 0.1", "≤ 0.3", "≤ 0.5")
        shown = [layer for layer in generator.layers if layer.name in measured.counts]
        rows, records = [], []
        for layer in shown:
            rates = measured.rates(layer)
            shares = {limit: float((rates <= limit).double().mean()) for limit in LIMITS}
            records.append({**asdict(layer), "share_of_rates_up_to": shares})
            size = "x".join(map(str, layer.resolution))
            rows.append((layer.index, size, *(f"{share:.1%}" for share in shares.values())))
        latents = measured.latents_of(shown)
        tell(
            as_json,
            {"generator": measured.fingerprint, "latents": latents, "layers": records},
            f"{measured.generator} {measured.fingerprint[:16]}, {latents}",
            table(header, *rows),
        )
        if out:
            measured.save(out)
            click.echo(f"written to {out}")
