"""ganfix: repair the artifacts of GAN generators inside the codebases people already use."""

from ganfix_plugin._version import __version__
from ganfix_plugin.api import attach, detect, list_correctors, profile
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.export import export

__all__ = ["GanfixError", "__version__", "attach", "detect", "export", "list_correctors", "profile"]
