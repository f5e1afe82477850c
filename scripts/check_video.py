"""How much videos jump: stylegan3's own gen_video.py, with hard gates and with soft ones.

``python scripts/check_video.py CHECKOUT NETWORK.pkl`` renders one interpolation after the other on
the CPU, unmodified, and prints the largest change between neighbouring frames of each video (mean
absolute difference of pixels, of 255), and the largest beyond what the uncorrected video changes
between the same two frames.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio.v2 as imageio
import numpy as np

CORRECTORS = {
    "seqabl:lowest=30%": "lr",
    "steer:from=lr": "probe",
    "truncation:psi=0.5": "lr",
}
GATES = ("off", "70%", "60%..80%", "50%..90%")


def changes(checkout: Path, network: Path, line: list[str], spec: str) -> np.ndarray:
    """Of the video under a correction, between each two neighbouring frames."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "lerp.mp4"
        command = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", "gen_video.py"]
        command += [f"--network={network.resolve()}", f"--output={video}", *line]
        subprocess.run(
            [*command, f"--correct={spec}"], cwd=checkout, check=True, capture_output=True
        )
        frames = np.stack([frame.astype(np.float32) for frame in imageio.get_reader(video)])
    return np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--seeds", default="0-7")
    parser.add_argument("--w-frames", default="120")
    parser.add_argument("--samples", default="4000")
    options = parser.parse_args()
    line = [f"--seeds={options.seeds}", f"--w-frames={options.w_frames}"]
    before = changes(options.checkout, options.network, line, "none")
    print(f"{'none':52}  largest {before.max():6.2f}", flush=True)
    for corrector, score in CORRECTORS.items():
        for gate in GATES:
            gate = gate if gate == "off" else f"{score}:{gate}"
            # Without a gate, truncation measures nothing, and is not told how.
            idle = corrector.startswith("truncation") and gate == "off"
            samples = "" if idle else f",samples={options.samples}"
            spec = f"{corrector},gate={gate}{samples}"
            after = changes(options.checkout, options.network, line, spec)
            beyond = (after - before).max()
            print(f"{spec:52}  largest {after.max():6.2f}  beyond {beyond:6.2f}", flush=True)


if __name__ == "__main__":
    main()
