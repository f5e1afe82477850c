"""``python -m ganfix_plugin``: the `ganfix` command."""

from ganfix_plugin.cli import main

if __name__ == "__main__":
    main(prog_name="ganfix")
