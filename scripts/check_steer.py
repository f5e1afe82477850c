"""Hold `--correct steer` to its promises in the unmodified scripts of the real hosts.

    python scripts/check_steer.py DIR

DIR as of check_hosts.py, and a checkout of rosinality's stylegan2-pytorch may be beside the others.
Networks are tiny and random, so that what is wrong with their images is nothing; what is shown is
that steering runs where nobody prepared anything, that the files of samples that it does not flag
are byte-identical to those of a run without it, and that all others are not. Prints one line per
fact; the exit status is 1 if one of them does not hold.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
from check_hosts import SEEDED, Bench, Done, Fact, check, records, succeeded

STEER = "--correct=steer:samples=64"
SEEDS = 16
KINDS = ("ada", "sg3", "genforce", "rosinality")


def compared(
    what: str, run: Callable[..., Done], folder: Path, counted: str = "*.[pj][np]g"
) -> Iterator[Fact]:
    """A script that leaves images in a folder, without and with steering.

    Args:
        run: called with further arguments for the script.
        counted: which of the files are of one sample each.
    """
    plain, again = images(run, folder), images(run, folder)
    yield f"{what}: two runs without --correct leave the same bytes", plain == again
    steered = images(run, folder, STEER)
    said = run_said[-1]
    count = re.search(r"(\d+) of (\d+) samples corrected", said)
    flagged, samples = map(int, count.groups()) if count else (0, 0)
    names = {name for name in plain if Path(name).match(counted)}
    changed = {name for name in names if plain[name] != steered.get(name)}
    yield (
        f"{what}: {flagged} of {samples} samples flagged; their files change and the other "
        f"{len(names) - len(changed)} are byte-identical",
        len(changed) == flagged and len(names) == samples and 0 < flagged < samples,
    )
    yield f"{what}: and it says what it was fitted on", "probe: fitted on" in said


run_said: list[str] = []


def images(run: Callable[..., Done], folder: Path, *more: str) -> dict[str, bytes]:
    """The images that a run leaves in a folder, by name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run_said.append(succeeded(run(*more)).stderr)
    files = (file for file in folder.rglob("*") if file.suffix in (".png", ".jpg"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def nvidia(bench: Bench) -> Iterator[Fact]:
    """generate.py or gen_images.py, of the codebase's own generator and of a noisy StyleGAN2."""
    script = {"ada": "generate.py", "sg3": "gen_images.py"}[bench.kind]
    out = bench.work / "out"
    for network, *more in (("net",), ("noisy", "--noise-mode=random"), ("net", "--trunc=0.7")):
        line = [f"--network={pickled(bench, network)}", f"--seeds=0-{SEEDS - 1}", f"--outdir={out}"]
        yield from compared(
            " ".join((script, *more)), lambda *x: bench.launched(script, *line, *more, *x), out
        )
    yield from killed(bench, script)


def ada(bench: Bench) -> Iterator[Fact]:
    yield from nvidia(bench)
    network, out = f"--network={pickled(bench, 'net')}", bench.work / "out"
    line = [network, "--rows=0,1,2", "--cols=3,4,5", f"--outdir={out}"]
    run = "style_mixing.py"
    yield from compared(run, lambda *x: bench.launched(run, *line, *x), out, counted="[0-9]*.png")
    line = [f"--network={pickled(bench, 'micro')}", f"--data={bench.work / 'data.zip'}", STEER]
    line += [f"--detector={bench.work / 'anything.pt'}", "--metrics=fid_artifacts"]
    line += ["--latents=0-59"]
    for ranks in (1, 2):
        done = succeeded(bench.launched("calc_metrics.py", *line, f"--gpus={ranks}"))
    yield "calc_metrics.py, 2 ranks, says how many", "of 60 samples corrected" in done.stderr
    (folder,) = (bench.work / "micro" / "corrected").glob("detector-*")
    one, two = (record["results"]["fid_artifacts"] for record in records(folder))
    yield (
        f"calc_metrics.py, 1 and 2 ranks: the same distance, {one:.6f} and {two:.6f}",
        abs(one - two) <= 1e-4 * abs(one),
    )
    correct = {record["correct"].partition(":")[0] for record in records(folder)}
    yield "… and the record names it", correct == {"steer"}


def sg3(bench: Bench) -> Iterator[Fact]:
    yield from nvidia(bench)
    network, out = f"--network={pickled(bench, 'net')}", bench.work / "video.mp4"
    line = [network, "--seeds=0-3", "--w-frames=4", f"--output={out}"]
    succeeded(bench.launched("gen_video.py", *line))
    plain = out.read_bytes()
    done = succeeded(bench.launched("gen_video.py", *line, STEER))
    count = re.search(r"(\d+) of (\d+) samples corrected", done.stderr)
    flagged, frames = map(int, count.groups()) if count else (0, 0)
    changed = out.read_bytes() != plain
    yield f"gen_video.py: {flagged} of {frames} frames flagged", 0 < flagged < frames and changed


def genforce(bench: Bench) -> Iterator[Fact]:
    out = bench.work / "out"
    for network in ("pggan_bedroom256", "stylegan2_church256"):
        line = [network, "--num=6", "--save_raw_synthesis=true", "--generate_html=false"]
        line += [f"--save_dir={out}"]
        yield from compared(
            f"synthesize.py {network}", lambda *x: bench.launched("synthesize.py", *line, *x), out
        )
    work = bench.work / "test"
    line = [str(bench.work / "config.py"), f"--work_dir={work}", "--synthesis_num=16"]
    line += [f"--checkpoint={bench.work / 'test.pth'}", "--fid_num=0", STEER]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=1", "-m", "ganfix_plugin", "run"]
    done = succeeded(bench.call(*torchrun, "--device=cpu", bench.checkout / "test.py", *line))
    count = re.search(r"(\d+) of (\d+) samples corrected", done.stderr)
    flagged, samples = map(int, count.groups()) if count else (0, 0)
    yield f"test.py: {flagged} of {samples} samples flagged", 0 < flagged < samples


# What generate.py of rosinality's imports, for where torchvision is not installed.
SAVE_IMAGE = """
import PIL.Image

def make_grid(tensor, nrow=8, normalize=False, value_range=None, range=None):
    assert normalize and len(tensor) == 1 and (value_range or range) == (-1, 1)
    return tensor[0].clamp(-1, 1).add(1).div(2)

def save_image(tensor, fp, **how):
    pixels = make_grid(tensor, **how).mul(255).add(0.5).clamp(0, 255).permute(1, 2, 0)
    PIL.Image.fromarray(pixels.byte().numpy()).save(fp)
"""


def rosinality(bench: Bench) -> Iterator[Fact]:
    variables = {}
    if find_spec("torchvision") is None:
        package = bench.work / "stand-in" / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "utils.py").write_text(SAVE_IMAGE)
        paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables["PYTHONPATH"] = os.pathsep.join(paths)
    launch = ["-c", SEEDED, "run", "--device", "cpu", bench.checkout / "generate.py"]
    out = bench.work / "sample"  # a name that generate.py fixes
    line = ["--size=32", "--channel_multiplier=1", f"--ckpt={bench.work / 'net.pt'}"]
    line += [f"--pics={SEEDS}"]
    yield from compared("generate.py", lambda *x: bench.call(*launch, *line, *x, **variables), out)


def killed(bench: Bench, script: str) -> Iterator[Fact]:
    """A run that is killed while it measures, and the same once more."""
    out, spec = bench.work / "out", "--correct=steer:samples=600,from=lr"
    line = [f"--network={pickled(bench, 'net')}", f"--seeds=0-{SEEDS - 1}", f"--outdir={out}"]
    begun = [sys.executable, "-c", SEEDED, "run", "--device=cpu", str(bench.checkout / script)]
    caches = {name: str(bench.work / f"cache-{name}") for name in ("whole", "killed")}

    def run(cache: str) -> Callable[..., Done]:
        return lambda *x: bench.call(*begun[1:], *line, *x, GANFIX_CACHE=caches[cache])

    wanted = images(run("whole"), out, spec)
    env = bench.env(GANFIX_CACHE=caches["killed"])
    pipe = subprocess.PIPE
    with subprocess.Popen([*begun, *line, spec], cwd=bench.work, env=env, stderr=pipe) as process:
        assert process.stderr
        seen = b""
        while b"fitting a probe" not in seen and (more := process.stderr.read(64)):
            seen += more
        process.kill()
    yield f"{script}, killed while the probe is fitted", process.returncode == -9
    yield "… and run again: the same bytes", images(run("killed"), out, spec) == wanted


def pickled(bench: Bench, name: str) -> Path:
    return bench.work / name / "net.pkl"


FACTS = {"ada": ada, "sg3": sg3, "genforce": genforce, "rosinality": rosinality}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", type=click.Choice(KINDS), help="One host.")
def main(folder: Path, only: str | None) -> None:
    """Check steering in the checkouts of hosts in FOLDER."""
    sys.exit(check(lambda bench: [(bench.kind, FACTS[bench.kind](bench))], folder, only, KINDS))


if __name__ == "__main__":
    main()
