"""`ganfix run x.py` is `python x.py`, until --correct is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROBE = """
import json, os, sys
main = sys.modules["__main__"]
facts = {name: str(getattr(main, name, None)) for name in
         ("__name__", "__file__", "__package__", "__doc__", "__cached__", "__builtins__")}
facts["spec"] = getattr(main.__spec__, "name", None)
facts["loader"] = type(main.__loader__).__name__
facts["same module"] = main.__dict__ is globals()
facts["code file"] = sys._getframe().f_code.co_filename
facts["argv"] = sys.argv
facts["path"] = [p for p in sys.path if p != os.environ["PROBE_IGNORES"]]
facts["cwd"] = os.getcwd()
print(json.dumps(facts))
"""
GANFIX = [sys.executable, "-m", "ganfix_plugin", "run"]


def call(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PROBE_IGNORES": "", "COLUMNS": "80"}
    env.pop("GANFIX_DEVICE", None)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "probe.py").write_text(f'"""A probe."""\n{PROBE}')
    (tmp_path / "linked.py").symlink_to("inner/probe.py")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    (tmp_path / "package" / "module.py").write_text(PROBE)
    return tmp_path


@pytest.mark.parametrize(
    "target",
    [
        ["inner/probe.py", "--a=1", "-b", "two words", "--help"],
        ["./inner/../inner/probe.py"],
        ["{folder}/inner/probe.py"],
        ["linked.py"],
        ["-m", "package", "--a"],
        ["-m", "package.module"],
    ],
    ids=" ".join,
)
def test_a_script_sees_the_same_argv_path_and_main_module(target: list[str], folder: Path) -> None:
    target = [part.format(folder=folder) for part in target]
    plain = call([sys.executable, *target], folder)
    ours = call([*GANFIX, *target], folder)
    assert ours.stderr == plain.stderr == ""
    assert json.loads(ours.stdout) == json.loads(plain.stdout)


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.exit('gone')",
        "def f():\n    raise ValueError('no')\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError(2) from e",
        "def broken(:",
        "import atexit\nclass Late: pass\natexit.register(lambda: print(Late))",
        "import click\n@click.command()\n@click.option('--n', type=int)\ndef f(n): 1 / n\nf()",
    ],
)
def test_a_script_ends_with_the_same_status_output_and_traceback(source: str, folder: Path) -> None:
    (folder / "script.py").write_text(source)
    arguments = ["script.py", "--n=0"]
    plain, ours = call([sys.executable, *arguments], folder), call([*GANFIX, *arguments], folder)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert ours.stderr == plain.stderr


def test_spawned_processes_find_the_functions_of_the_script(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import multiprocessing\n"
        "def square(x): return x * x\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(square, [2, 3]))\n"
    )
    assert call([*GANFIX, "script.py"], folder).stdout == "[4, 9]\n"


def test_torchrun_can_start_the_launcher(folder: Path) -> None:
    (folder / "script.py").write_text("import os, sys; print(os.environ['RANK'], sys.argv)")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=1"]
    done = call([*torchrun, "-m", "ganfix_plugin", "run", "script.py", "--x"], folder)
    assert done.stdout == "0 ['script.py', '--x']\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "Error: nowhere.py: there is no such script"),
        (["inner"], "Error: inner: is a folder"),
        (["-m", "no.such"], "Error: no.such: there is no such module"),
        (["--device", "tpu", "marks.py"], "Error: device tpu: unknown; choose one of cpu, cuda"),
        (["marks.py", "--correct"], "Error: --correct needs a value"),
        (["marks.py", "--correct", "bogus"], "Error: --correct bogus: unknown corrector"),
    ],
)
def test_own_errors_are_one_line_before_the_script_has_run(
    arguments: list[str], message: str, folder: Path
) -> None:
    (folder / "marks.py").write_text("open('ran', 'w')")
    done = call([*GANFIX, *arguments], folder)
    assert done.returncode == 1
    assert message.replace("NVIDIA", "") in done.stderr.replace("genforce, NVIDIA", "")
    assert done.stderr.count("\n") == 1
    assert not (folder / "ran").exists()


def test_own_errors_inside_the_script_are_one_line_too(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import click\nfrom ganfix_plugin import GanfixError\n"
        "@click.command()\ndef f(): raise GanfixError('mend this')\nf()"
    )
    done = call([*GANFIX, "script.py"], folder)
    assert (done.returncode, done.stderr) == (1, "Error: mend this\n")


def test_own_errors_go_to_stderr_even_where_the_script_put_a_logger_in_its_place(
    folder: Path,
) -> None:
    (folder / "script.py").write_text(
        "import sys\nsys.stderr = sys.stdout\n"
        "from ganfix_plugin import GanfixError\nraise GanfixError('mend this')"
    )
    done = call([*GANFIX, "script.py"], folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: mend this\n")


LINE = "if __name__ == '__main__': import ganfix_plugin.hosts.door as d; d.enter(__file__)\n"


@pytest.mark.parametrize("opening", [[sys.executable], GANFIX], ids=["python", "ganfix run"])
def test_a_patched_script_runs_once_and_its_status_sticks(opening: list[str], folder: Path) -> None:
    (folder / "script.py").write_text(f"{LINE}import sys\nprint(sys.argv)\nsys.exit(5)")
    done = call([*opening, "script.py", "a"], folder)
    assert (done.returncode, done.stdout, done.stderr) == (5, "['script.py', 'a']\n", "")


def test_a_patched_script_that_is_imported_stays_itself(folder: Path) -> None:
    (folder / "script.py").write_text(f"{LINE}x = 1")
    done = call([sys.executable, "-c", "import script; print(script.x)"], folder)
    assert (done.returncode, done.stdout) == (0, "1\n")
