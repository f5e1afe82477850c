"""What the line that `ganfix patch` puts into a script calls."""

from __future__ import annotations

import os
import sys


def enter(script: str) -> None:
    """Run this very script under ganfix and leave with its status; under ganfix, do nothing."""
    from ganfix_plugin.hosts import launcher

    if not launcher.active:
        name = sys.argv[0] if os.path.realpath(sys.argv[0]) == os.path.realpath(script) else script
        sys.exit(launcher.run(name, sys.argv[1:], os.environ.get("GANFIX_DEVICE")))
