"""The wheel and the source distribution: what they hold, and that a wheel is enough to work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from ganfix_plugin import __version__ as VERSION

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BUILD = (sys.executable, "-m", "build", "--no-isolation")

ATTACH = """
import torch, ganfix_plugin as ganfix
from torch import nn
G = nn.Sequential(nn.ConvTranspose2d(4, 8, 4), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()
z = torch.randn(2, 4, 1, 1)
with torch.no_grad(), ganfix.attach(G, "seqabl:lowest=50%,samples=50") as attachment:
    changed = G(z)
    attachment.check()
assert not torch.equal(changed, G(z))
print(ganfix.__file__)
"""


def succeeded(*command: str | Path, cwd: Path) -> str:
    words = list(map(str, command))
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout as git holds it, so that building leaves nothing in the original."""
    folder = tmp_path_factory.mktemp("checkout") / "ganfix"
    left_out = (".*", "*.egg-info", "__pycache__", "build", "dist", "out", "*.pkl")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*left_out))
    return folder


@pytest.fixture(scope="session")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both distributions; the wheel is built from the source distribution."""
    out = tmp_path_factory.mktemp("dist")
    succeeded(*BUILD, f"--outdir={out}", ".", cwd=checkout)
    return out


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return built / f"ganfix-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="session")
def sdist(built: Path) -> set[str]:
    """The files of the source distribution, relative to its one folder."""
    with tarfile.open(built / f"ganfix-{VERSION}.tar.gz") as archive:
        names = [Path(member.name) for member in archive if member.isfile()]
    assert {name.parts[0] for name in names} == {f"ganfix-{VERSION}"}
    return {Path(*name.parts[1:]).as_posix() for name in names}


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel and the packages it needs, and without this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("\n".join(each for each in sys.path if "-packages" in each))
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    succeeded(*pip, "--force-reinstall", wheel, cwd=folder)
    return python


def test_twine_accepts_both(built: Path) -> None:
    assert len(list(built.iterdir())) == 2
    succeeded(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in files(wheel)}
    assert tops == {"ganfix_plugin", f"ganfix-{VERSION}.dist-info"}
    package = ROOT / "ganfix_plugin"
    tracked = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in files(wheel) if name.startswith("ganfix_plugin/")} == tracked


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "ops/pass.h",
        "ops/cpu.cpp",
        "ops/cuda.cu",
        "web/static/label.html",
        "web/criteria/faces.txt",
    ],
)
def test_the_wheel_holds_what_is_no_python(wheel: Path, name: str) -> None:
    assert f"ganfix_plugin/{name}" in files(wheel)


def test_the_wheel_names_its_licence(wheel: Path) -> None:
    info = f"ganfix-{VERSION}.dist-info"
    assert files(wheel)[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"\nLicense-Expression: MIT\n" in files(wheel)[f"{info}/METADATA"]


def test_the_description_has_no_address_that_pypi_cannot_follow(wheel: Path) -> None:
    metadata = files(wheel)[f"ganfix-{VERSION}.dist-info/METADATA"].decode()
    assert metadata.count("\n## ") >= 6 and "MIT licence" in metadata
    targets = re.findall(r"\]\((.*?)\)", metadata)
    assert all(target.startswith("https:") for target in targets), targets


def test_the_source_distribution_holds_the_package_and_what_to_read(sdist: set[str]) -> None:
    outside = {name for name in sdist if not name.startswith(("ganfix_plugin/", "ganfix.egg-info"))}
    made = {"PKG-INFO", "setup.cfg"}
    assert outside - made == {
        "CHANGELOG.md",
        "LICENSE",
        "MANIFEST.in",
        "README.md",
        "pyproject.toml",
        "setup.py",
    }


def test_checkout_and_source_distribution_give_the_same_wheel(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    succeeded(*BUILD, "--wheel", f"--outdir={tmp_path}", ".", cwd=checkout)
    assert files(tmp_path / wheel.name) == files(wheel)


def test_the_installed_command_lists_the_built_ins(python: Path, tmp_path: Path) -> None:
    listed = succeeded(python.with_name("ganfix"), "list", cwd=tmp_path)
    assert "seqabl: sequential ablation" in listed and f"[ganfix {VERSION}]" in listed


def test_the_installed_package_corrects_away_from_the_checkout(
    python: Path, tmp_path: Path
) -> None:
    place = succeeded(python, "-c", ATTACH, cwd=tmp_path).strip()
    assert Path(place).is_relative_to(python.parents[1])


def test_the_installed_command_patches_a_checkout(python: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "stylegan2_small", tmp_path / "host")
    said = succeeded(python.with_name("ganfix"), "patch", "host", cwd=tmp_path)
    assert "generate.py: patched" in said
