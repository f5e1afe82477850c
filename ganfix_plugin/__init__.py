"""ganfix: repair the artifacts of GAN generators inside the codebases people already use."""

from typing import TYPE_CHECKING, Any

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError

if TYPE_CHECKING:
    from ganfix_plugin.api import attach, detect, list_correctors, profile
    from ganfix_plugin.exports import export

__all__ = ["GanfixError", "__version__", "attach", "detect", "export", "list_correctors", "profile"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: scripts without --correct need none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ganfix_plugin import api

    if name == "export":
        from ganfix_plugin.exports import export

        return export
    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
