"""The `ganfix` command: what runs, patches and examines a checkout, and all other commands."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

from ganfix_plugin.commands.group import main

device_option = click.option(
    "--device",
    envvar="GANFIX_DEVICE",
    metavar="cpu|cuda|mps",
    help="Where networks run. [default: $GANFIX_DEVICE, else cuda if there is, else cpu]",
)

CHECKOUT = click.Path(path_type=Path)


@main.command(
    cls=click.Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@device_option
@click.option("-m", "--module", is_flag=True, help="SCRIPT is a module's name, as after python -m.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
def run(device: str | None, module: bool, script: str, arguments: tuple[str, ...]) -> None:
    """Run an unmodified SCRIPT of a known codebase, with --correct added to its options.

    \b
    ganfix run generate.py --network=ffhq.pkl --seeds=0-9 --outdir=out --correct seqabl
    """
    # Else our imports make Python look for garbage among all that torch has made.
    gc.freeze()
    from ganfix_plugin.hosts import launcher

    sys.exit(launcher.run(script, arguments, device, module))


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
    """Say what ganfix finds in CHECKOUT: the host, its scripts, and what is mended and why."""
    from ganfix_plugin.hosts.doctor import examine

    for line in examine(checkout, device):
        click.echo(line)
