"""Build both distributions, and use the wheel in empty environments, away from this checkout.

    python scripts/check_package.py python3.10=2.3.1 python3.13=2.14.1

For each PYTHON=TORCH: a new environment with that torch, the wheel and what it requires; there the
commands below on examples/stylegan2_small, and the lines of Python in README. Takes what is
committed. Needs git, a package registry, and 6 GB for each environment, which are removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GANFIX"))
}
GIVEN = """
import legacy, torch
G = legacy.load_network_pkl(open("footwear32.pkl", "rb"))["G_ema"]
z, c = torch.randn(4, G.z_dim), None
"""
CHECKED = """
torch.manual_seed(0)
uncorrected = G(z, c)
print(ganfix.__file__, (images != uncorrected).flatten(1).any(1).tolist())
"""
GENERATE = "ganfix run --device=cpu generate.py --network=footwear32.pkl --seeds=0-7"


def said(command: str | list[str | Path], cwd: Path, path: Path | None = None) -> str:
    """What a command prints, all of it; ends the check if it fails."""
    words = command.split() if isinstance(command, str) else list(map(str, command))
    environment = dict(ENVIRONMENT, GANFIX_CACHE=str(cwd / "cache"))
    if path:
        environment["PATH"] = os.pathsep.join([str(path), environment["PATH"]])
        words[0] = str(path / words[0])
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"FAIL {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build(folder: Path) -> Path:
    """The wheel, built from the source distribution, which is built from what is committed."""
    said(["git", "clone", "--quiet", ROOT, "checkout"], folder)
    print(
        said([sys.executable, "-m", "build", "--outdir=dist", "checkout"], folder).splitlines()[-1]
    )
    distributions = sorted((folder / "dist").iterdir())
    print(
        said([sys.executable, "-m", "twine", "check", "--strict", *distributions], folder).strip()
    )
    return next(file for file in distributions if file.suffix == ".whl")


def use(wheel: Path, python: str, torch: str, folder: Path) -> None:
    """Everything in one environment."""
    print(f"\n{python}, torch {torch}", flush=True)
    said([python, "-m", "venv", folder / "env"], folder.parent)
    path = folder / "env" / "bin"
    said(["pip", "install", "--quiet", f"torch=={torch}", wheel], folder, path)
    print(said("pip check", folder, path).strip())
    versions = "import sys, torch, numpy; print(sys.version, torch.__version__, numpy.__version__)"
    print(said(["python", "-c", versions], folder, path).strip(), flush=True)
    print(said("ganfix --version", folder, path).strip())
    host = folder / "host"
    said(["cp", "-r", wheel.parents[1] / "checkout/examples/stylegan2_small", host], folder)
    said("python make_network.py", host, path)
    print(said("ganfix doctor --device=cpu .", host, path).strip(), flush=True)
    said(f"{GENERATE} --outdir=none", host, path)
    for spec in ("seqabl", "seqabl:gate=lr:70%", "steer"):
        said(f"{GENERATE} --outdir={spec} --correct {spec}", host, path)
        record = json.loads((host / spec / "ganfix.json").read_text())
        images = sorted((host / spec).glob("*.png"))
        changed = [differ(image, host / "none" / image.name) for image in images]
        print(f"{spec}: {sum(changed)} of {len(images)} images changed, {record}", flush=True)
        assert any(changed) and all(changed) == (spec == "seqabl")
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    code = GIVEN + "torch.manual_seed(0)\n" + lines + CHECKED
    place = said(["python", "-c", code], host, path).strip().splitlines()[-1]
    print(place)
    assert place.startswith(str(folder / "env"))


def differ(one: Path, other: Path) -> bool:
    """Whether two images differ in any pixel."""
    return not np.array_equal(PIL.Image.open(one), PIL.Image.open(other))


def main() -> None:
    """Build, and use in each environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", nargs="+", metavar="PYTHON=TORCH")
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name))
        for environment in parser.parse_args().environments:
            python, _, torch = environment.rpartition("=")
            with tempfile.TemporaryDirectory() as folder:
                use(wheel, python, torch, Path(folder))


if __name__ == "__main__":
    main()
