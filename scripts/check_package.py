"""Build both distributions, and use the wheel in empty environments, away from this checkout.

    python scripts/check_package.py python3.10=2.3.1 python3.13=2.14.1

For each PYTHON=TORCH: a new environment with that torch, the wheel and what it requires; there the
commands below on examples/stylegan2_small, and the lines of Python in README. Takes what is
committed. Needs git, a package registry, and 6 GB for an environment, which is removed afterwards.
"""

from __future__ import annotations

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
GENERATE = "ganfix run --device=cpu generate.py --network=footwear32.pkl --seeds=0-7"
VERSIONS = "import sys, torch, numpy; print(sys.version, torch.__version__, numpy.__version__)"
GIVEN = """
import legacy, torch
G = legacy.load_network_pkl(open("footwear32.pkl", "rb"))["G_ema"]
z, c = torch.randn(8, G.z_dim, generator=torch.Generator().manual_seed(0)), None
torch.manual_seed(0)  # of the noise
"""
COMPARED = """
torch.manual_seed(0)
print(ganfix.__file__, (images != G(z, c)).flatten(1).any(1).tolist())
"""


def said(command: str | list[str | Path], cwd: Path, path: Path | None = None) -> str:
    """What a command prints, with the programs of ``path``; ends the check if it fails."""
    words = command.split() if isinstance(command, str) else list(map(str, command))
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    env["GANFIX_CACHE"] = str(cwd / "cache")
    if path:
        env["PATH"] = os.pathsep.join([str(path), env["PATH"]])
        words[0] = str(path / words[0])
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"FAIL {' '.join(words)}\n{done.stdout}{done.stderr}")
    return (done.stdout + done.stderr).strip()


def build(folder: Path) -> Path:
    """The wheel, built from the source distribution, which is built from what is committed."""
    said(["git", "clone", "--quiet", ROOT, "checkout"], folder)
    said([sys.executable, "-m", "build", "--outdir=dist", "checkout"], folder)
    files = sorted((folder / "dist").iterdir())
    print(said([sys.executable, "-m", "twine", "check", "--strict", *files], folder))
    return next(file for file in files if file.suffix == ".whl")


def use(wheel: Path, python: str, torch: str, folder: Path) -> None:
    """Everything in one environment."""
    said([python, "-m", "venv", folder / "env"], folder)
    path = folder / "env" / "bin"
    said(["pip", "install", "--quiet", f"torch=={torch}", wheel], folder, path)
    host = folder / "host"
    said(["cp", "-r", wheel.parents[1] / "checkout/examples/stylegan2_small", host], folder)
    said("python make_network.py", host, path)
    for command in ("pip check", ["python", "-c", VERSIONS], "ganfix --version", "ganfix doctor ."):
        print(said(command, host, path), flush=True)
    specs = ("none", "seqabl", "seqabl:gate=lr:70%", "steer")
    for spec in specs:
        said(f"{GENERATE} --outdir={spec} --correct {spec}", host, path)
        uncorrected, images = (sorted((host / of).glob("*.png")) for of in ("none", spec))
        pixels = ([np.array(PIL.Image.open(file)) for file in of] for of in (uncorrected, images))
        changed = [not np.array_equal(*pair) for pair in zip(*pixels)]
        print(f"{spec}: changed {changed}", flush=True)
        assert any(changed) == (spec != "none") and all(changed) == (spec == "seqabl")
        if spec != "none":
            (run,) = json.loads((host / spec / "ganfix.json").read_text())
            by_seed = run["corrections"][0]["corrected_by_seed"]
            assert list(by_seed.values()) == changed, by_seed
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    seen = said(["python", "-c", GIVEN + lines + COMPARED], host, path).splitlines()[-1]
    print(f"README: {seen}")
    assert seen.startswith(str(path.parent)) and "True" in seen and "False" in seen


def main() -> None:
    """Build, and use in each environment."""
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name))
        for environment in sys.argv[1:]:
            print(f"\n{environment}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                use(wheel, *environment.split("="), Path(folder))


if __name__ == "__main__":
    main()
