"""`none`: no correction at all, bit-identical to no plugin. The baseline of every comparison."""

from __future__ import annotations

from ganfix_plugin.correctors.corrector import Corrector
from ganfix_plugin.spec import Options

CORRECTOR = Corrector(
    name="none",
    help="no correction: the uncorrected generator, as a baseline",
    options=Options,
    edits=lambda options, context: {},
)
