"""What a user may mistype ends in one line that says what was expected, and nothing is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from prepared import error, run
from served import NETWORK, TESTS

from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_spec

MISTYPED = [
    ("profile", "--samples=-4"),
    ("profile", "--samples=0"),
    ("profile", "--samples=123456789012345678901"),
    ("profile", "--batch=0"),
    ("profile", "--seed=-1"),
    ("profile", "--seed=4294967296"),
    ("profile", "--class=-1"),
    ("detect", "--rate=nan"),
    ("detect", "--first=4294967296"),
    ("detect", "--num=0"),
    ("score", "--samples=0"),
    ("score", "--samples=-7"),
    ("score", "--tau=nan"),
    ("score", "--tau=0"),
    ("score", "--cam=nan"),
    ("score", "--active=5"),
    ("label", "--num=0"),
    ("judge", "--num=0"),
    ("prepare", "--num=0"),
    ("prepare", "--top=-3"),
    ("tune", "--trials=0"),
    ("units", "--per-unit=1"),
]


@pytest.mark.parametrize("command, option", MISTYPED, ids=map(" ".join, MISTYPED))
def test_a_number_out_of_range_is_named(command: str, option: str) -> None:
    result = run(command, *NETWORK, option)
    assert result.exit_code == 2
    name, value = option.split("=")
    assert f"Invalid value for '{name}'" in result.stderr and value.lstrip("-") in result.stderr


# With the words of a generator before them, if they begin with +. HERE holds what is named below.
MISTAKES = """
profil
profile
profile --network=nothing
profile --network=a.pkl
profile --network=nothing:f
profile --network=generators:nothing --host=TESTS
profile --network=generators:latents --host=TESTS
profile --network=generators:dcgan --host=TESTS --device=gpu
profile --network=generators:dcgan --host=/nowhere
+profile --adapter=stylegan
+profile --layers=99
+profile --layers=4x8
+profile --layers=
+profile --class=3
+profile --out=HERE
+profile --import-rates=/nowhere
+profile --import-rates=HERE
+layers --foo
layers --network=x.pkl --host=HERE
layers --network=HERE --host=HERE
layers --network=HERE/a.txt
+evaluate
+evaluate --real=/nowhere
+evaluate --real=HERE/empty
+evaluate --real=HERE/broken
+evaluate --real=REAL --latents=x
+evaluate --real=REAL --latents=HERE/text.csv
+evaluate --real=REAL --latents=HERE/a.txt
+evaluate --real=REAL --latents=LONG
+evaluate --real=REAL --latents=99999999999999999999
+evaluate --real=REAL --num=1
+evaluate --real=REAL --num-real=99999 --num=4 --extractor=prepared:look
+evaluate --real=REAL --extractor=vgg
+evaluate --real=REAL --extractor=os:nothing
+evaluate --real=REAL --batch=0
+evaluate --real=REAL --seed=-1
+evaluate --real=REAL --latents=4294967294-4294967298 --extractor=prepared:look
+evaluate --real=REAL --correct=seqabl: --num=4
+evaluate --real=REAL --correct=truncation:psi=2
+evaluate --real=REAL --correct=truncation:samples=9
+evaluate --real=REAL --resamples=-1
+evaluate --real=REAL --num=4 --out=/proc/x/y.json
+detect
+detect --out=/proc/x
+detect --out=HERE/a.txt
+detect --out=HERE/o --by=foo
+detect --out=HERE/o --by=realism
+detect --out=HERE/o --by=artifact --classifier=/nowhere
+detect --out=HERE/o --by=artifact --classifier=HERE/bad.safetensors
+detect --out=HERE/o --first=4294967290 --num=100
+detect --out=HERE/o --labels=HERE/text.csv
+fit
+fit --labels=/nowhere.csv
+fit --labels=HERE/text.csv
+fit --labels=HERE
+score --labels=/nowhere.csv
+labels auto
+labels auto --out=HERE/x.csv --num=10 --top=50
labels export HERE/a.txt --out=HERE/x.csv
labels export HERE/none.sqlite --out=HERE/x.csv
+export
+export --correct=seqabl
+export --correct=seqabl --out=x.pkl
+export --correct=seqabl --out=HERE
export --check=HERE/a.txt
export --check=/nowhere
+report --correct=seqablx --out=x
+report --correct=seqabl:lowest=30 --out=x
+report --correct=seqabl:rate=0.3,lowest=30% --out=x
+report --correct=seqabl:profile=HERE/bad.safetensors --out=x
+report --correct=HERE/bad.safetensors --out=x
+tune --real=REAL --correct=seqabl:zzz=1
+plot
+units --show=-1
+prepare --top=5000 --num=100
+label --raters=a/b
+label --port=99999
+label --criteria=nothing
+judge --correct=seqabl --answers=HERE/a.txt
+latents --seeds=1- --correct=steer --out=HERE/x.npz
+latents --seeds=5-1 --correct=steer --out=HERE/x.npz
+render --seeds=99999999999999999999 --out=HERE/r
patch /nowhere
patch HERE/empty
doctor /nowhere
run
""".strip().splitlines()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    for name in ("empty", "broken", "real"):
        (folder / name).mkdir()
    (folder / "text.csv").write_text("hello")
    (folder / "a.txt").write_text("x")
    (folder / "bad.safetensors").write_bytes(b"no")
    (folder / "broken" / "a.png").write_bytes(b"no")
    for number in range(8):
        Image.new("RGB", (16, 16), (30 * number, 0, 99)).save(folder / "real" / f"{number}.png")
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(line: str, here: Path) -> None:
    before = _files(here)
    named = {"HERE": here, "TESTS": TESTS, "REAL": here / "real"}
    named["LONG"] = ",".join(map(str, range(3000))) + ",x"
    for name, value in named.items():
        line = line.replace(name, str(value))
    command, *words = line.removeprefix("+").split()
    result = run(command, *words, *(NETWORK if line[0] == "+" else ()))
    errors = [text for text in result.stderr.splitlines() if text.startswith("Error: ")]
    assert isinstance(result.exception, SystemExit) and result.exit_code in (1, 2), result.output
    assert len(errors) == 1 and "Traceback" not in result.output
    assert _files(here) == before


@pytest.mark.parametrize(
    "spec", ["seqabl:samples=123456789012345678901", "seqabl\n:rate=0.3", "steer:steps=9999999999"]
)
def test_a_spec_out_of_range_is_one_line(spec: str) -> None:
    with pytest.raises(GanfixError) as raised:
        parse_spec(spec)
    assert "\n" not in str(raised.value) and str(raised.value).startswith("--correct ")


def test_a_file_that_is_no_profile_is_not_to_be_deleted(tmp_path: Path) -> None:
    network = tmp_path / "net.pkl"
    network.write_bytes(b"\x80\x04N.")
    line = error(run("report", *NETWORK, f"--correct=seqabl:profile={network}", "--out=x"))
    assert f"profile {network}: damaged or no ganfix profile" in line and "delete" not in line


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["tune", "--help"]], ids=" ".join)
def test_a_console_without_greek_letters_gets_the_rest(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ganfix_plugin", *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0 and done.stdout and b"Traceback" not in done.stderr
