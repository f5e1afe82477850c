"""`ganfix export`: a corrected network for places without ganfix."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import ganfix_plugin as ganfix
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main, one_line_errors
from ganfix_plugin.commands.options import FILE, Network
from ganfix_plugin.correctors.bind import BUNDLE, parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.exports import contents
from ganfix_plugin.hosts.devices import resolve_device
from ganfix_plugin.hosts.loading import open_networks
from ganfix_plugin.profiling.profile import Profile


@one_line_errors()
def _show(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Say what is baked into a file, and leave with status 1 if nothing is."""
    if path is None:
        return
    if path.suffix == BUNDLE:
        bundle = Profile.load(path)
        for spec in bundle.correct:
            click.echo(spec)
        click.echo(f"generator {bundle.fingerprint}, ganfix {bundle.version}")
        sys.exit(0 if bundle.correct else 1)
    baked = contents(path)
    for about in baked:
        for spec, layers in zip(about.specs, about.layers):
            click.echo(f"{spec} · layers {'+'.join(map(str, layers)) or 'none'}")
        click.echo(f"generator {about.generator}, ganfix {about.version}")
    if not baked:
        click.echo(f"{path}: nothing is baked in")
    sys.exit(0 if baked else 1)


@main.command()
@options.network
@options.correct(
    "What to bake in; several are applied in a row. Corrections that need a classifier are "
    "refused, and steer, except in a bundle."
)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="The corrected network pickle; or a .safetensors file, a bundle.",
)
@click.option(
    "--check",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Only say what is baked into this file; the exit status is 1 if nothing is.",
)
def export(network: Network, specs: tuple[str, ...], out: Path) -> None:
    """Write a corrected network that needs no ganfix.

    \b
    ganfix export --network ffhq.pkl --correct seqabl:gate=lr:70% --out corrected.pkl
    ganfix export --check corrected.pkl

    A network pickle of NVIDIA's comes out as one that any checkout of its codebase opens, corrected
    and without ganfix. For other generators, whose files hold weights only, --out NAME.safetensors
    writes a bundle, the specs and the numbers that they need: with it, --correct NAME.safetensors
    corrects on another machine, where ganfix then measures nothing.
    """
    bound = parse_specs(specs)
    if Path(network.name).exists() and out.exists() and out.samefile(network.name):
        raise GanfixError(f"--out {out}: is the network itself; write another file")
    if out.suffix == BUNDLE:
        with network.opened() as generator:
            ganfix.export(generator.G, *bound, out=out, adapter=generator.adapter.name)
    else:
        measure_on = resolve_device(network.device)
        with open_networks(network.name, network.host, network.device) as networks:
            how = {"adapter": network.adapter_name, "measure_on": measure_on}
            ganfix.export(networks, *bound, out=out, **how)
    click.echo(f"written to {out}")
