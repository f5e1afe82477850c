"""What `ganfix run` does with each script of a project, by what it and what it imports hold."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from ganfix_plugin.hosts.host import code_of
from ganfix_plugin.hosts.import_hooks import installed

# A script, which may read its command line at its top level.
_MAIN = re.compile(r"^if __name__ == ['\"]__main__['\"]|^\w[^#\n]*=[^#\n]*\bparse_args\(", re.M)
# Not the other side of a choice, nor of a part that a metric makes for itself.
_TRAINS = re.compile(r"(?<!else:)\n\s*[\w.]+\.train\((?:True)?\)|optim\.\w+\(\s*\w+\.parameters\(")
_FRAMEWORKS = ("tensorflow", "jax", "mxnet", "paddle", "chainer")


def fates(project: Path) -> Iterator[tuple[str, str]]:
    """Each script of a project that runs networks of PyTorch's, or of another framework, with what
    becomes of it."""
    code = code_of(project)
    for script in (name for name, text in code.items() if _MAIN.search(text)):
        modules = _needed(script, code)
        others = [name for name in _FRAMEWORKS if name in modules]
        if others and "torch" not in modules:
            yield script, f"runs networks of {others[0]}, which ganfix does not know"
        elif "torch" in modules:
            missing = [name for name in sorted(modules - _MENDED) if not installed(name)]
            needs = f"; needs {', '.join(missing)}, not installed here" if missing else ""
            trains = Path(script).stem.startswith("train") or _TRAINS.search(code[script])
            besides = f", not those of {others[0]}" if others else ""  # they may be of a metric
            yield script, (_TRAINING if trains else _CORRECTED + besides) + needs


_MENDED = {"pkg_resources"}  # by `compat`, for what is used of it
_CORRECTED = "ganfix run corrects the generators that it runs"
_TRAINING = "trains networks, which ganfix leaves alone; correct those that it writes"


def _needed(script: str, code: Mapping[str, str]) -> set[str]:
    """The first names of the modules from elsewhere that a script, and the files of the project
    that it imports, need to start."""
    files, modules, ahead = {script}, set[str](), [script]
    while ahead:
        file = ahead.pop()
        for name in _imports(code[file]):
            inside = _files_of(name, file, script, code)
            if not inside and not name.startswith("."):
                modules.add(name.partition(".")[0])
            ahead += inside - files
            files |= inside
    return modules - sys.stdlib_module_names


@cache
def _imports(text: str) -> tuple[str, ...]:
    """The modules that a file imports at its top level and cannot do without, with the names taken
    from them; relative ones begin with their dots."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return ()
    names = []
    for node in body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            dot = "" if module.endswith(".") else "."
            names += [f"{module}{dot}{alias.name}" for alias in node.names]
    return tuple(names)


def _files_of(name: str, file: str, script: str, code: Mapping[str, str]) -> set[str]:
    """The files of a project that an import runs: packages, module, and a module taken from it."""
    level = len(name) - len(name.lstrip("."))
    if level:
        bases = [PurePosixPath(file).parents[min(level, file.count("/") + 1) - 1]]
    else:
        bases = list(PurePosixPath(script).parents)  # scripts put folders above on the path
    parts = name.lstrip(".").split(".")
    for base in bases:
        paths = [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
        tried = (str(x) for path in paths for x in (path.with_suffix(".py"), path / "__init__.py"))
        if inside := {x for x in tried if x in code}:
            return inside
        if any(known.startswith(f"{paths[0]}/") for known in code):
            return {x for x in code if x.startswith(f"{paths[-1]}/") or x == f"{paths[-1]}.py"}
    return set()
