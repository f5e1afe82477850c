"""What ganfix costs where it should cost nothing: imports, scripts without --correct, corrections.

By processor time: other programs on the machine would spoil the wall time of something so short.
"""

from __future__ import annotations

import compileall
import statistics
from pathlib import Path

import torch
from core import EXAMPLES, Results, Row, Setup, children, duration, processor, python, side_by_side
from maps import SHAPES
from networks import render, stylegan2

import ganfix_plugin
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.attachment import Attachment, placed
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.standalone import Cap, LayerHook

IMPORT = (
    "import time, torch; start = time.process_time(); import ganfix_plugin; {}"
    "print(time.process_time() - start)"
)
IMPORTED_WITHIN, STARTED_WITHIN = 0.050, 0.100  # seconds
HOOKS_WITHIN = 1e-4  # of a generation


def measure(setup: Setup) -> Results:
    """Import, start of a script, and the hooks of a correction."""
    compileall.compile_dir(str(Path(ganfix_plugin.__file__).parent), quiet=1)  # as pip does
    turns = setup.size(max(setup.repeats, 5), 1)
    plain, used = (
        statistics.median(float(python("-c", IMPORT.format(more))) for _ in range(turns))
        for more in ("", "ganfix_plugin.attach; ")
    )
    yield _at_most("`import ganfix_plugin`, beyond torch", plain, IMPORTED_WITHIN)
    yield Row("… and what `attach` needs", duration(used), "")
    yield _start_up(setup, turns)
    yield _hooks(setup)


def _start_up(setup: Setup, turns: int) -> Row:
    """Of a script that only shows its help."""
    script = (setup.ada or EXAMPLES / "stylegan2_small") / "generate.py"
    command = ("-m", "ganfix_plugin", "run", "--device=cpu", str(script), "--help")
    kept = {"PYTHONDONTWRITEBYTECODE": "1"}  # a checkout stays as it is
    works = {
        "plain": lambda: python(str(script), "--help", **kept),
        "under": lambda: python(*command, **kept),
    }
    times = side_by_side(works, turns, by=children)
    extra = statistics.median(times.differences("under", "plain"))
    host = f"{script.parent.name}/{script.name}"
    title = f"start of {host} under `ganfix run` without --correct, more than without"
    peer = f"{duration(times.median('plain'))} by itself"
    return _at_most(title, extra, STARTED_WITHIN, peer)


def _hooks(setup: Setup) -> Row:
    """Of three layers, inside the hooks, beside the generation that they correct."""
    resolution = setup.size(256, 16)
    G = stylegan2(resolution, setup.ada)
    generator, z = Generator.of(G), torch.randn(1, 512)
    layers = generator.auto
    maps = [torch.randn(1, *shape) for shape in SHAPES]
    edits = {layer: Cap(torch.rand(x.shape[1:]) < 0.5) for layer, x in zip(layers, maps)}
    attachment = Attachment(G, [Correction("seqabl", layers[0], edits)])
    hooks = [hook for _, _, hook in placed(G) if isinstance(hook, LayerHook)]
    attachment.detach()
    module = G.get_submodule(layers[0].name)

    def corrected() -> None:
        for _ in range(100):
            for hook, x in zip(hooks, maps):
                hook(module, (), x)

    def alone() -> None:
        for _ in range(100):
            for edit, x in zip(edits.values(), maps):
                edit(x)

    works = {"whole": lambda: render(G, z), "hooks": corrected, "edits": alone}
    turns = side_by_side(works, max(setup.repeats, 5), by=processor)
    share = statistics.median(turns.ratios("hooks", "whole")) / 100
    edited = duration(turns.median("edits") / 100)
    return Row(
        f"hooks of 3 corrected layers, in a generation of {resolution} pixels",
        duration(turns.median("hooks") / 100),
        f"{duration(turns.median('whole'))} generation; {edited}, the edits alone",
        f"**{share:.4%}**",
        f"≤ {HOOKS_WITHIN:.2%}",
        share <= HOOKS_WITHIN,
    )


def _at_most(what: str, seconds: float, limit: float, peer: str = "") -> Row:
    return Row(what, duration(seconds), peer, "", f"≤ {duration(limit)}", seconds <= limit)
