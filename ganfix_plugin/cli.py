"""The `ganfix` command: what runs, patches and examines a checkout, and all other commands."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

from ganfix_plugin.commands.group import device as device_option
from ganfix_plugin.commands.group import main

CHECKOUT = click.Path(path_type=Path)


@main.command(
    cls=click.Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@device_option
@click.option("-m", "--module", is_flag=True, help="SCRIPT is a module's name, as after python -m.")
@click.option(
    "--adapter",
    metavar="NAME",
    help="The family of the script's generator, where it is not recognised; see 'ganfix list'.",
)
@click.option(
    "--layers",
    metavar="NAME,…",
    help="Modules of the script's generator whose feature maps are corrected, instead of those "
    "that its adapter names; for example synthesis.b4.conv1,synthesis.b8.conv1.",
)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
def run(
    device: str | None,
    module: bool,
    adapter: str | None,
    layers: str | None,
    script: str,
    arguments: tuple[str, ...],
) -> None:
    """Run an unmodified SCRIPT, with --correct added to its options.

    \b
    ganfix run generate.py --network=ffhq.pkl --seeds=0-9 --outdir=out --correct steer

    Of codebases that ganfix does not know, it notices the generator when it is loaded. Where it
    does not, --adapter and --layers name it.
    """
    # Else our imports make Python look for garbage among all that torch has made.
    gc.freeze()
    from ganfix_plugin.hosts import launcher
    from ganfix_plugin.hosts.generic import Word

    names = tuple(name.strip() for name in layers.split(",")) if layers else None
    sys.exit(launcher.run(script, arguments, device, module, Word(adapter, names)))


@main.command()
@click.argument("checkout", type=CHECKOUT)
@click.option("--check", "action", flag_value="check", help="Only say which scripts are patched.")
@click.option("--revert", "action", flag_value="revert", help="Take the line out again.")
def patch(checkout: Path, action: str | None) -> None:
    """Put one line into each script of CHECKOUT, so that plain 'python SCRIPT' has --correct.

    Patched scripts read the device from GANFIX_DEVICE. The exit status is 0 if afterwards (with
    --check: already) every script is patched, with --revert if none is, and 1 otherwise.
    """
    from ganfix_plugin.hosts import patching
    from ganfix_plugin.hosts.host import checkout_of

    if action == "check":
        results = patching.states(*checkout_of(checkout))
    else:
        results = patching.patch(checkout, revert=action == "revert")
    wanted = patching.UNPATCHED if action == "revert" else patching.PATCHED
    others = 0
    for name, state in results:
        click.echo(f"{name}: {state}")
        others += state != wanted
    sys.exit(1 if others else 0)


@main.command()
@click.argument("checkout", type=CHECKOUT)
@device_option
def doctor(checkout: Path, device: str | None) -> None:
    """Say what ganfix finds in CHECKOUT: the host, its scripts, what it works around, and why."""
    from ganfix_plugin.hosts.doctor import examine

    for line in examine(checkout, device):
        click.echo(line)
