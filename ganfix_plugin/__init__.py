"""ganfix: repair the artifacts of GAN generators inside the codebases people already use."""

import importlib
from typing import TYPE_CHECKING, Any

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError

if TYPE_CHECKING:
    from ganfix_plugin.api import attach, detect, list_correctors, profile
    from ganfix_plugin.exports import export
    from ganfix_plugin.moved_latents import corrected_latents

_PUBLIC = {  # by module
    "api": ("attach", "detect", "list_correctors", "profile"),
    "exports": ("export",),
    "moved_latents": ("corrected_latents",),
}
__all__ = [
    "GanfixError",
    "__version__",
    "attach",
    "corrected_latents",
    "detect",
    "export",
    "list_correctors",
    "profile",
]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: scripts without --correct need none."""
    for module, names in _PUBLIC.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
