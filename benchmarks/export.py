"""How much larger a network pickle becomes by a correction baked into it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from core import EXAMPLES, Results, Row, Setup, python

HOST = EXAMPLES / "stylegan2_small"
SPECS = ("seqabl", "seqabl:gate=lr:70%")


def measure(setup: Setup) -> Results:
    """The example's StyleGAN2, by the command."""
    with tempfile.TemporaryDirectory() as folder:
        network, cache = Path(folder, "network.pkl"), {"GANFIX_CACHE": folder}
        python(str(HOST / "make_network.py"), f"--out={network}")
        before = network.stat().st_size
        for number, spec in enumerate(SPECS[: setup.size(len(SPECS), 1)]):
            out = Path(folder, f"{number}.pkl")
            options = (
                f"--network={network}",
                f"--host={HOST}",
                f"--correct={spec}",
                f"--out={out}",
            )
            python("-m", "ganfix_plugin", "export", *options, **cache)
            more = out.stat().st_size - before
            yield Row(
                f"`ganfix export --correct {spec}`, growth of the pickle",
                f"{more / 1024:.1f} KiB",
                f"{before / 1024:.0f} KiB before",
                f"{more / before:.2%}",
            )
