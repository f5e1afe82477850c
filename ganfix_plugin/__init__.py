"""ganfix: repair the artifacts of GAN generators inside the codebases people already use."""

from __future__ import annotations

import importlib

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError

TYPE_CHECKING = False  # typing's own takes longer to import than everything here
if TYPE_CHECKING:
    from typing import Any

    from ganfix_plugin.api import attach, detect, latents, list_correctors, prepare, profile
    from ganfix_plugin.correctors.bind import correction
    from ganfix_plugin.evaluation.evaluate import evaluate
    from ganfix_plugin.exports import export
    from ganfix_plugin.moved_latents import corrected_latents
    from ganfix_plugin.pictures.grid import sheet
    from ganfix_plugin.reporting.report import report

_PUBLIC = {  # by module; no folder or file here may have the name of a function
    "api": ("attach", "detect", "latents", "list_correctors", "prepare", "profile"),
    "correctors.bind": ("correction",),
    "evaluation.evaluate": ("evaluate",),
    "exports": ("export",),
    "moved_latents": ("corrected_latents",),
    "pictures.grid": ("sheet",),
    "reporting.report": ("report",),
}
__all__ = [
    "GanfixError",
    "__version__",
    "attach",
    "corrected_latents",
    "correction",
    "detect",
    "evaluate",
    "export",
    "latents",
    "list_correctors",
    "prepare",
    "profile",
    "report",
    "sheet",
]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: scripts without --correct need none."""
    for module, names in _PUBLIC.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
