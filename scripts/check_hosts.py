"""Hold ganfix to its promises on checkouts of the real hosts.

    python scripts/check_hosts.py DIR

DIR holds checkouts of stylegan2-ada-pytorch, stylegan3 and genforce, under any names. They are
copied to a temporary folder first and never touched. What they import must be installed: requests,
imageio, imageio-ffmpeg, opencv-python-headless, beautifulsoup4, easydict, lmdb, rich, tensorboard.
Networks are tiny and random, on the CPU. Prints one line per fact; the exit status is 1 if one of
them does not hold.
"""

from __future__ import annotations

import atexit
import difflib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
from host_networks import SEEDS

from ganfix_plugin import __version__
from ganfix_plugin.hosts.host import find_host

ROOT = Path(__file__).resolve().parents[1]
SPEC = "seqabl:samples=64"
CORRECT = f"--correct={SPEC}"
N = len(SEEDS)
SEEDED = "import torch; torch.manual_seed(0); from ganfix_plugin.cli import main; main()"
KINDS = ("ada", "sg3", "genforce")
Fact = tuple[str, bool]
Done = subprocess.CompletedProcess[str]


@dataclass
class Bench:
    """A copy of a checkout, with networks and reference images beside it."""

    kind: str
    checkout: Path
    work: Path
    device: str = "cpu"

    def call(
        self, *command: str | Path, python: str | Path = sys.executable, **variables: str
    ) -> Done:
        """Run Python in the working folder, whose checkpoints/ genforce reads."""
        line = [str(python), *map(str, command)]
        env = self.env(**variables)
        return subprocess.run(line, cwd=self.work, env=env, capture_output=True, text=True)

    def env(self, **variables: str) -> dict[str, str]:
        """Environment variables of a run, caches of its own among them."""
        env = {key: value for key, value in os.environ.items() if key != "GANFIX_DEVICE"}
        return env | {
            "GANFIX_CACHE": str(self.work / "cache"),
            "DNNLIB_CACHE_DIR": str(self.work / "dnnlib"),
            "TORCH_HOME": str(self.work / "torch"),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Sums over several threads differ in the last bit from one load to the next.
            "OMP_NUM_THREADS": "1",
            **variables,
        }

    def ganfix(self, *arguments: str | Path) -> Done:
        """The command, with a seed: random noise is otherwise different in every run."""
        return self.call("-c", SEEDED, *arguments)

    def launched(self, script: str, *arguments: str) -> Done:
        """Through the first door."""
        return self.ganfix("run", "--device", self.device, self.checkout / script, *arguments)

    def patched(self, script: str, *arguments: str) -> Done:
        """Through the second door."""
        return self.call(self.checkout / script, *arguments, GANFIX_DEVICE=self.device)

    def alone(self, script: str, *arguments: str) -> Done:
        """On the CPU in a Python that cannot import ganfix."""
        shim = ROOT / "scripts" / "without_ganfix.py"
        return self.call(shim, self.checkout / script, *arguments, python=without_ganfix())

    def git_status(self) -> str:
        line = ["git", "-C", str(self.checkout), "status", "--porcelain"]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout


@functools.cache
def without_ganfix() -> Path:
    """A Python with the packages of this one but ganfix, whose installation here is a link."""
    folder = Path(tempfile.mkdtemp(prefix="ganfix-without-"))
    atexit.register(shutil.rmtree, folder)
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("\n".join(each for each in sys.path if "-packages" in each))
    # stylegan3 imports it, also in the processes that it spawns, and setuptools no longer has it.
    stand_in = "from torch.torch_version import TorchVersion as parse_version\n"
    (site / "pkg_resources.py").write_text(stand_in)
    return folder / "bin" / "python"


@dataclass
class Drawing:
    """A script that draws N images with one network."""

    bench: Bench
    script: str
    network: str
    more: tuple[str, ...] = ()

    def draw(self, *correct: str, door: Callable[..., Done] | None = None) -> np.ndarray:
        """The images [N, H, W, 3]; what the script said is then in `said`."""
        with tempfile.TemporaryDirectory(dir=self.bench.work) as out:
            if self.bench.kind == "genforce":
                line = [self.network, f"--num={N}", "--trunc_psi=1", "--save_raw_synthesis=true"]
                line.append(f"--save_dir={out}")
            else:
                network = self.bench.work / self.network / "net.pkl"
                line = [f"--network={network}", f"--seeds=0-{N - 1}", f"--outdir={out}"]
            done = succeeded(
                (door or self.bench.launched)(self.script, *line, *self.more, *correct)
            )
            self.said = done.stderr
            return pixels(Path(out))


def pixels(folder: Path) -> np.ndarray:
    """All images of a folder and its folders, by name."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".jpg"))
    return np.stack([np.asarray(PIL.Image.open(file)) for file in files])


def image(file: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(file))


def succeeded(done: Done) -> Done:
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def both_doors(drawing: Drawing) -> Iterator[Fact]:
    """Same pixels without --correct, other ones with it, the same ones by both doors."""
    bench, script = drawing.bench, drawing.script
    plain = drawing.draw()
    reference = pixels(bench.work / drawing.network)
    yield "launcher, no --correct: pixels of the host's own classes", equal(plain, reference)
    yield "launcher, --correct none: the same pixels", equal(drawing.draw("--correct=none"), plain)
    corrected = drawing.draw(CORRECT)
    yield f"launcher, {CORRECT}: other pixels", not equal(corrected, plain)
    yield f"… and says so: {N} of {N} samples", f"{N} of {N} samples corrected" in drawing.said
    yield (
        "launcher, --help shows --correct",
        "--correct NAME" in bench.launched(script, "--help").stdout,
    )

    bench.ganfix("patch", bench.checkout)
    door = bench.patched
    yield "patched, no --correct: the same pixels", equal(drawing.draw(door=door), plain)
    yield (
        f"patched, {CORRECT}: equal to the launcher's",
        equal(drawing.draw(CORRECT, door=door), corrected),
    )
    yield "patched, --help shows --correct", "--correct NAME" in door(script, "--help").stdout
    twice = drawing.draw(CORRECT)
    once = drawing.said.count("samples corrected") == 1
    yield "both doors at once: the same, corrected once", once and equal(twice, corrected)
    bench.ganfix("patch", bench.checkout, "--revert")


def gate(drawing: Drawing) -> Iterator[Fact]:
    """Images below the gate are bit-identical to an uncorrected run."""
    plain = drawing.draw()
    for threshold in ("30%", "70%"):
        gated = drawing.draw(f"{CORRECT},gate=lr:{threshold}")
        changed = int((gated != plain).reshape(N, -1).any(axis=1).sum())
        text = f"gate=lr:{threshold}: {changed} of {N} change and the rest is bit-identical"
        yield text, f" {changed} of {N} samples corrected" in drawing.said


def first_use(bench: Bench) -> Iterator[Fact]:
    """`--correct seqc` where nothing is prepared: it is done without another command."""
    if bench.kind == "genforce":
        script, network = "synthesize.py", "pggan_footwear32"
        n = N
        line = [network, f"--num={n}", "--trunc_psi=1", "--save_raw_synthesis=true", "--save_dir"]
    else:
        script, network = "generate.py", str(bench.work / "net" / "net.pkl")
        n = 60  # on a random network, few are taken for artifacts, and not all of them overlap
        line = [f"--network={network}", f"--seeds=0-{n - 1}", "--outdir"]

    def files(name: str, *correct: str) -> tuple[dict[str, bytes], str]:
        out = bench.work / "first-use" / name
        done = succeeded(bench.launched(script, *line, str(out), *correct))
        pictures = (file for file in out.rglob("*") if file.suffix in (".png", ".jpg"))
        return {file.name: file.read_bytes() for file in pictures}, done.stderr

    plain, _ = files("plain")
    first, said = files("first", "--correct=seqc")
    announced = [part for part in said.splitlines() if part.startswith("ganfix: first use on this")]
    yield (
        "unprepared --correct=seqc: one line says what it does, and it is done",
        (len(announced) == 1 and "stopped, it goes on from there" in announced[0]),
    )
    if bench.kind == "genforce":
        yield f"… and corrects {n} of {n} samples", f"{n} of {n} samples corrected" in said
        first, said = files("artifacts", "--correct=seqc:rows=artifacts")
        what = "rows=artifacts: "
    else:
        what = ""
    changed = sum(first[name] != content for name, content in plain.items())
    yield (
        f"… {what}{changed} of {n} files change and the others are byte-identical",
        0 < changed < n and f" {changed} of {n} samples corrected" in said,
    )
    again, said = files("again", "--correct=seqc" + (":rows=artifacts" if what else ""))
    yield (
        "… the second use measures nothing and gives the same files",
        (again == first and "first use" not in said),
    )
    if bench.kind == "ada":
        # In a folder of its own, since records are kept beside the network.
        own = shutil.copytree(bench.work / "micro", bench.work / "first-use" / "micro")
        network = f"--network={own / 'net.pkl'}"
        metric = [network, f"--data={bench.work / 'data.zip'}", "--metrics=fid", "--num-gen=60"]
        done = succeeded(bench.launched("calc_metrics.py", *metric, "--correct=seqc"))
        # The script's logger writes to stdout what comes on stderr while it runs.
        yield (
            "calc_metrics.py --metrics=fid, unprepared --correct=seqc",
            ("first use on this" in done.stdout and "of 60 samples corrected" in done.stderr),
        )


def screening(bench: Bench, script: str) -> Iterator[Fact]:
    """Screened seeds are not rendered; the others keep their names and their pixels."""
    network = f"--network={bench.work / 'net' / 'net.pkl'}"
    out = bench.work / "screened"
    line = [script, network, f"--seeds=0-{N - 1}", "--correct=none:samples=64"]
    done = succeeded(bench.launched(*line, f"--outdir={out}", "--screen=40%"))
    kept = sorted(file.name for file in out.iterdir())
    gone = f"{N - len(kept)} of {N} seeds not rendered"
    yield f"--screen 40%: {gone}, and said so", gone in done.stderr and 0 < len(kept) < N
    same = (equal(*(image(folder / name) for folder in (out, bench.work / "net"))) for name in kept)
    yield "… the others have the names and pixels of an uncorrected run", all(same)
    bench.ganfix("patch", bench.checkout)
    out = bench.work / "replaced"
    done = succeeded(bench.patched(*line, f"--outdir={out}", "--screen=40%:replace"))
    names = {file.name for file in out.iterdir()}
    yield (
        "--screen 40%:replace: as many images, with the next good seeds",
        len(names) == N and names > set(kept) and "in their place" in done.stderr,
    )
    bench.ganfix("patch", bench.checkout, "--revert")
    yield (
        "--help shows --screen",
        "--screen [probe:]SHARE" in bench.launched(script, "--help").stdout,
    )
    done = bench.launched("calc_metrics.py", network, "--screen=10%")
    yield "calc_metrics.py --screen is refused", "calc_metrics.py has no seed per" in done.stderr


def patching(bench: Bench) -> Iterator[Fact]:
    """`ganfix patch` does what the files in patches/ do, and undoes it."""
    folder = ROOT / "patches" / bench.kind
    before = {file.stem: (bench.checkout / file.stem).read_text() for file in folder.iterdir()}
    status = bench.git_status()  # stored copies of a host lack their largest files
    yield (
        "patch --check before: status 1",
        bench.ganfix("patch", bench.checkout, "--check").returncode == 1,
    )
    yield "patch: status 0", bench.ganfix("patch", bench.checkout).returncode == 0
    yield (
        "patch --check after: status 0",
        bench.ganfix("patch", bench.checkout, "--check").returncode == 0,
    )
    for script, old in before.items():
        new = (bench.checkout / script).read_text()
        lines = (text.splitlines(keepends=True) for text in (old, new))
        diff = "".join(difflib.unified_diff(*lines, f"a/{script}", f"b/{script}", n=0))
        kept = (folder / f"{script}.patch").read_text()
        yield f"patches/{bench.kind}/{script}.patch is that change", diff == kept
    succeeded(bench.ganfix("patch", bench.checkout, "--revert"))
    yield "patch --revert leaves git status as it was", bench.git_status() == status


def common(bench: Bench) -> Iterator[Fact]:
    """What holds for every host."""
    done = succeeded(bench.ganfix("doctor", bench.checkout))
    yield "doctor names the commit and what is mended", "cuda-elsewhere" in done.stdout
    done = bench.launched("train.py", "--help")
    yield "train.py is refused in one line", "train.py: ganfix corrects" in done.stderr
    script = "test.py" if bench.kind == "genforce" else "calc_metrics.py"
    if bench.kind == "genforce":
        done = bench.launched("synthesize.py", "pggan_bedroom256", "--screen=10%")
        yield "synthesize.py --screen is refused with the reason", "random stream" in done.stderr
    done = bench.launched(script, "--correct=bogus")
    yield (
        "an unknown corrector fails in one line",
        done.stderr.startswith("Error: --correct bogus: unknown corrector")
        and done.stderr.count("\n") == 1,
    )


def records(folder: Path) -> list[dict[str, Any]]:
    files = folder.glob("metric-*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# The distance of the corrected images of seeds 0 to 59 to a data set, by numpy and scipy.
INDEPENDENT = """
import sys, zipfile
sys.path.insert(0, sys.argv[1])
import legacy, numpy as np, PIL.Image, scipy.linalg, torch, ganfix_plugin
with open(sys.argv[2], "rb") as file:
    G = legacy.load_network_pkl(file)["G_ema"]
ganfix_plugin.attach(G, sys.argv[5])
z = np.stack([np.random.RandomState(seed).randn(G.z_dim) for seed in range(60)])
images = G(torch.from_numpy(z).float(), torch.zeros(60, 0), noise_mode="const")
images = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
with zipfile.ZipFile(sys.argv[3]) as archive:
    files = [PIL.Image.open(archive.open(name)) for name in archive.namelist()]
    real = torch.from_numpy(np.stack([np.asarray(file) for file in files])).permute(0, 3, 1, 2)
detector = torch.jit.load(sys.argv[4])
a, b = (detector(x, return_features=True).detach().double().numpy() for x in (real, images))
ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
root = np.real(scipy.linalg.sqrtm(ca @ cb))
print(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca + cb) - 2 * np.trace(root))
"""


def metrics(bench: Bench) -> Iterator[Fact]:
    """calc_metrics in one process and in two, with records that stay apart."""
    run = bench.work / "micro"
    line = [f"--network={run / 'net.pkl'}", f"--data={bench.work / 'data.zip'}", "--verbose=1"]
    fid = [*line, "--metrics=fid50k_full"]
    succeeded(bench.launched("calc_metrics.py", *fid, "--gpus=2"))
    yield "calc_metrics.py runs through in two ranks without --correct", len(records(run)) == 1
    succeeded(bench.launched("calc_metrics.py", *fid, CORRECT))
    done = succeeded(bench.launched("calc_metrics.py", *fid, CORRECT, "--gpus=2"))
    corrected = records(run / "corrected")
    yield (
        "calc_metrics.py in two ranks, corrected: all images counted",
        any(f"{n} of {n} samples corrected" in done.stderr for n in range(50000, 50200)),
    )
    one, two = (record["results"]["fid50k_full"] for record in corrected)
    text = f"… one rank and two report the same FID up to sampling noise: {one:.5f}, {two:.5f}"
    yield text, abs(one - two) < 0.01 * one
    yield (
        "… its record is apart and names correction, profile and version",
        len(records(run)) == 1
        and corrected[0]["correct"].startswith("seqabl:samples=64")
        and ":samples=64,seed=0" in corrected[0]["profile"]
        and corrected[0]["ganfix"] == __version__,
    )
    done = bench.launched("calc_metrics.py", *line, "--metrics=none", CORRECT)
    yield (
        "calc_metrics.py that runs no image: an error",
        (done.returncode == 1 and "nothing was corrected" in done.stderr),
    )


def export(bench: Bench, network: str, *specs: str) -> tuple[Path, str]:
    """Export a corrected network pickle; its file, and the option that names it."""
    before, out = bench.work / network / "net.pkl", bench.work / f"exported-{network}" / "net.pkl"
    line = [f"--network={before}", f"--host={bench.checkout}", "--device=cpu", f"--out={out}"]
    succeeded(bench.ganfix("export", *line, *specs))
    return out, f"--network={out}"


def exported(bench: Bench) -> Iterator[Fact]:
    """An exported pickle, where there is no ganfix, against the launcher with --correct."""
    gated = f"{CORRECT},gate=lr:50%"
    several = (gated, "--correct=truncation:psi=0.8", "--correct=random:of=units")
    script = {"ada": "generate.py", "sg3": "gen_images.py"}[bench.kind]
    for network, specs, *noise in (
        ("net", (CORRECT,)),
        ("net", several),
        ("noisy", (gated,), "--noise-mode=random"),
    ):
        wanted = Drawing(bench, script, network, tuple(noise)).draw(*specs)
        out, _ = export(bench, network, *specs)
        found = Drawing(bench, script, out.parent.name, tuple(noise)).draw(door=bench.alone)
        yield f"{script} {' '.join((*specs, *noise))}: equal pixels", equal(found, wanted)
        sizes = (path.stat().st_size for path in (out, bench.work / network / "net.pkl"))
        more = next(sizes) - (size := next(sizes))
        yield f"… in a file {more} bytes larger", more < 0.01 * size + 65536
    shown = succeeded(bench.ganfix("export", "--check", out)).stdout
    yield "--check shows what is baked in", shown.startswith("seqabl:gate=lr:50%,samples=64")
    again = ["export", f"--network={out}", f"--host={bench.checkout}", CORRECT, "--out=twice.pkl"]
    yield "exporting it again is refused", "already" in bench.ganfix(*again).stderr
    there = Drawing(bench, script, out.parent.name)
    there.draw(CORRECT)
    yield "--correct on top of it warns", "carries corrections already" in there.said

    _, micro = export(bench, "micro", gated)
    line = [f"--data={bench.work / 'data.zip'}", "--metrics=fid50k_full", "--verbose=1"]
    before = f"--network={bench.work / 'micro' / 'net.pkl'}"
    # 50,000 images twice would take as long as all other checks; here the copy makes 1,000.
    metric = bench.checkout / "metrics" / "metric_main.py"
    source = metric.read_text()
    metric.write_text(source.replace("max_real=None, num_gen=50000", "max_real=None, num_gen=1000"))
    # Reading the data set draws random numbers, so that only later runs, which find its statistics
    # in the cache, have the same latents.
    plain_fid, _, wanted_fid, found_fid = (
        fid(succeeded(call("calc_metrics.py", *line, *more)))
        for call, *more in (
            (bench.alone, before),
            (bench.launched, before, gated),
            (bench.launched, before, gated),
            (bench.alone, micro),
        )
    )
    metric.write_text(source)
    yield (
        f"calc_metrics.py on 1,000 images: FID {found_fid}, equal, uncorrected {plain_fid}",
        found_fid == wanted_fid != plain_fid,
    )


def fid(done: Done) -> object:
    """The FID that calc_metrics.py has printed."""
    (record,) = (
        json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"results"')
    )
    return record["results"]["fid50k_full"]


def exported_ada(bench: Bench) -> Iterator[Fact]:
    """The scripts that only stylegan2-ada-pytorch has."""
    network = f"--network={bench.work / 'net' / 'net.pkl'}"
    target = f"--target={bench.work / 'net' / 'seed0000.png'}"
    specs = (CORRECT, "--correct=random:of=units,samples=64,gate=lr:50%")
    _, alone = export(bench, "net", *specs)
    for script, picture, *line in (
        ("style_mixing.py", "grid.png", "--rows=0,1", "--cols=2"),
        ("projector.py", "proj.png", target, "--num-steps=3", "--save-video=0"),
    ):
        out = bench.work / "mine", bench.work / "alone", bench.work / "plain"
        succeeded(bench.launched(script, network, *line, f"--outdir={out[0]}", *specs))
        succeeded(bench.alone(script, alone, *line, f"--outdir={out[1]}"))
        succeeded(bench.alone(script, network, *line, f"--outdir={out[2]}"))
        mine, without, plain = (np.asarray(PIL.Image.open(each / picture)) for each in out)
        yield f"{script}: equal pixels", equal(mine, without) and not equal(mine, plain)
        for folder in out:
            shutil.rmtree(folder)


def given_latents(bench: Bench) -> Iterator[Fact]:
    """Our own metrics, with a detector of the user's own."""
    network, data = bench.work / "micro" / "net.pkl", bench.work / "data.zip"
    detector = bench.work / "anything.pt"
    line = [f"--network={network}", f"--data={data}", f"--detector={detector}", CORRECT]
    line += ["--metrics=fid_artifacts,pr_artifacts,realism_artifacts", "--latents=0-59"]
    for ranks in (1, 2):
        succeeded(bench.launched("calc_metrics.py", *line, f"--gpus={ranks}"))
    (folder,) = (bench.work / "micro" / "corrected").glob("detector-*")
    found = {(each["metric"], each["num_gpus"]): each["results"] for each in records(folder)}
    names = ("fid_artifacts", "pr_artifacts", "realism_artifacts")
    yield (
        "fid_, pr_ and realism_artifacts of one rank and of two are equal",
        all(found[name, 1] == found[name, 2] for name in names),
    )
    arguments = [bench.checkout, network, data, detector, SPEC]
    expected = float(succeeded(bench.call("-c", INDEPENDENT, *arguments)).stdout.split()[-1])
    value = found["fid_artifacts", 1]["fid_artifacts"]
    text = f"fid_artifacts {value:.6f} is scipy's {expected:.6f} to 1e-3"
    yield text, abs(value - expected) < 1e-3 * expected
    wrong = f"--detector={bench.work / 'whole.pt'}"
    line = [f"--network={network}", f"--data={data}", wrong, "--metrics=fid", "--gpus=2"]
    done = bench.launched("calc_metrics.py", *line)
    errors = [each for each in done.stderr.splitlines() if each.startswith("Error: ")]
    yield (
        "a detector of the wrong shape ends all ranks with one line",
        len(errors) == 1 and "expected features" in errors[0] and "Traceback" not in done.stderr,
    )
    help = bench.launched("calc_metrics.py", "--help").stdout
    yield "--help knows the metrics", "fid_artifacts" in help and "--num-real" in help


def every_metric(bench: Bench) -> Iterator[Fact]:
    """All that the host registers, in a second copy of it whose numbers of images are small."""
    small = bench.work / "small"
    shutil.copytree(bench.checkout, small)
    main = small / "metrics" / "metric_main.py"
    text = main.read_text(encoding="utf-8-sig")
    for number, less in (("num_gen=50000", "num_gen=64"), ("num_samples=50000", "num_samples=16")):
        text = text.replace(number, less)
    main.write_text(text.replace("num_splits=10", "num_splits=2"))
    network = bench.work / "net" / "net.pkl"
    # Images of the network's own size.
    with zipfile.ZipFile(bench.work / "own.zip", "w") as archive:
        for file in sorted(network.parent.glob("seed*.png")):
            archive.write(file, file.name)
    names = re.findall(r"^@register_metric\s+def (\w+)", text, re.M)
    line = [f"--network={network}", f"--data={bench.work / 'own.zip'}", CORRECT]
    line += [f"--detector={bench.work / 'anything.pt'}", f"--metrics={','.join(names)}"]
    run = ["run", "--device", "cpu", small / "calc_metrics.py", *line]
    succeeded(bench.ganfix(*run))
    (folder,) = (network.parent / "corrected").glob("detector-*")
    done = {record["metric"]: record for record in records(folder)}
    yield f"calc_metrics.py, corrected: all {len(names)} metrics", set(done) == set(names)
    noted = {name for name, record in done.items() if "hard threshold" in record.get("note", "")}
    path_lengths = {name for name in names if name.startswith("ppl")}
    yield "… and path lengths carry a note", noted == path_lengths != set()


def ada(bench: Bench) -> Iterator[Fact]:
    network = f"--network={bench.work / 'net' / 'net.pkl'}"
    out = bench.work / "mix"
    done = succeeded(
        bench.launched(
            "style_mixing.py", network, "--rows=0,1", "--cols=2", f"--outdir={out}", CORRECT
        )
    )
    yield "style_mixing.py, corrected", (out / "grid.png").is_file() and " 5 of 5 " in done.stderr
    out = bench.work / "projected"
    target = f"--target={bench.work / 'net' / 'seed0000.png'}"
    steps = ["--num-steps=3", "--save-video=0"]
    for spec, count in ((SPEC, " 4 of 4 "), ("steer:from=lr,samples=64", " of 4 samples")):
        projected = out / spec.partition(":")[0]
        line = [network, target, *steps, f"--outdir={projected}", f"--correct={spec}"]
        done = succeeded(bench.launched("projector.py", *line))
        drawn = (projected / "proj.png").is_file()
        yield f"projector.py, corrected by {projected.name}", drawn and count in done.stderr
    again = ["--projected-w", str(projected / "projected_w.npz"), f"--outdir={out / 'again'}"]
    done = succeeded(bench.launched("generate.py", network, *again, f"{CORRECT},gate=lr:1%"))
    yield "generate.py --projected-w, gated", "of 1 samples corrected" in done.stderr


def sg3(bench: Bench) -> Iterator[Fact]:
    network = f"--network={bench.work / 'net' / 'net.pkl'}"
    out = bench.work / "video.mp4"
    line = [network, "--seeds=0,1", "--w-frames=3", f"--output={out}", CORRECT]
    done = succeeded(bench.launched("gen_video.py", *line))
    yield "gen_video.py, corrected", out.stat().st_size > 0 and " 7 of 7 " in done.stderr


def genforce(bench: Bench) -> Iterator[Fact]:
    work = bench.work / "test"
    config = [str(bench.work / "config.py"), f"--work_dir={work}"]
    line = [*config, f"--checkpoint={bench.work / 'test.pth'}", "--synthesis_num=4", CORRECT]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "ganfix_plugin", "run"]
    test = bench.checkout / "test.py"
    done = succeeded(bench.call(*torchrun, "--device=cpu", test, *line, "--fid_num=2"))
    yield (
        "torchrun, two ranks, test.py with FID, corrected",
        (done.stderr.count(" 3 of 3 samples corrected") == 2),
    )
    (record,) = records(work / "corrected")
    yield (
        "… its log, record and features are apart and name correction, profile and version",
        record["correct"].startswith("seqabl:samples=64")
        and ":samples=64,seed=0" in record["profile"]
        and f"ganfix {__version__}" in (work / "corrected" / "log.txt").read_text()
        and {file.name for file in work.iterdir()} == {"corrected"},
    )
    detector = f"--detector={bench.work / 'anything.pt'}"
    line[-2:] = ["--synthesis_num=0", detector]
    succeeded(bench.call(*torchrun, "--device=cpu", test, *line, "--fid_num=7"))
    (folder,) = work.glob("detector-*")
    (record,) = records(folder)
    yield (
        "torchrun, test.py with another detector, uncorrected: its features and record are apart",
        "correct" not in record and (folder / "real_fid7.npy").is_file(),
    )
    line[-2:] = ["--synthesis_num=4", CORRECT]
    bench.ganfix("patch", bench.checkout)
    launch = ["-m", "torch.distributed.launch", "--nproc_per_node=1"]
    done = succeeded(bench.call(*launch, test, *line, "--fid_num=0", GANFIX_DEVICE="cpu"))
    yield "torch.distributed.launch, patched test.py, corrected", " 4 of 4 " in done.stderr
    bench.ganfix("patch", bench.checkout, "--revert")


def groups(bench: Bench) -> Iterator[tuple[str, Iterator[Fact]]]:
    """All facts about a host, by what they are about."""
    yield bench.kind, common(bench)
    yield bench.kind, patching(bench)
    script = {"ada": "generate.py", "sg3": "gen_images.py", "genforce": "synthesize.py"}[bench.kind]
    if bench.kind == "genforce":
        plain, noisy, noise = "pggan_bedroom256", "stylegan2_church256", "--randomize_noise=true"
    else:
        plain, noisy, noise = "net", "noisy", "--noise-mode=random"
    first = Drawing(bench, script, plain)
    yield f"{bench.kind} {script}", both_doors(first)
    yield f"{bench.kind} {script}", gate(first)
    yield f"{bench.kind} {script}, constant noise", gate(Drawing(bench, script, noisy))
    yield f"{bench.kind} {script}, random noise", gate(Drawing(bench, script, noisy, (noise,)))
    if bench.kind != "sg3":
        yield f"{bench.kind} {script}, first use", first_use(bench)
    yield bench.kind, {"ada": ada, "sg3": sg3, "genforce": genforce}[bench.kind](bench)
    if bench.kind != "genforce":
        yield f"{bench.kind} {script}", screening(bench, script)
        yield bench.kind, metrics(bench)
        yield bench.kind, every_metric(bench)
        yield f"{bench.kind}, exported, without ganfix", exported(bench)
    if bench.kind == "ada":
        yield "ada, exported, without ganfix", exported_ada(bench)
        yield f"{bench.kind}, given latents", given_latents(bench)


def kind_of(checkout: Path) -> str:
    """ada, sg3, genforce or rosinality; empty for anything else."""
    found = find_host(checkout)
    if not found:
        return ""
    if found[0].name != "nvidia":
        return found[0].name
    return "sg3" if (checkout / "gen_images.py").is_file() else "ada"


def benches(
    folder: Path,
    only: str | None = None,
    device: str = "cpu",
    kinds: Sequence[str] = KINDS,
) -> Iterator[Bench]:
    """A bench of each kind that has a checkout in a folder, as long as it is used.

    Raises:
        RuntimeError: if the host's own classes make no networks here.
    """
    taken: set[str] = set()
    for checkout in sorted(path for path in folder.iterdir() if path.is_dir()):
        kind = kind_of(checkout)
        if kind not in kinds or kind in taken or (only and kind != only):
            continue
        taken.add(kind)
        with tempfile.TemporaryDirectory(prefix=f"ganfix-{kind}-") as name:
            bench = Bench(kind, Path(name, "checkout"), Path(name, "work"), device)
            shutil.copytree(checkout, bench.checkout, symlinks=True)
            bench.work.mkdir()
            build = [sys.executable, ROOT / "scripts" / "host_networks.py", kind, bench.work]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
            if subprocess.run(build, cwd=bench.checkout, env=env).returncode:
                raise RuntimeError(f"{kind}: no networks; are the host's requirements installed?")
            yield bench


def check(
    groups: Callable[[Bench], Iterable[tuple[str, Iterator[Fact]]]],
    folder: Path,
    only: str | None,
    kinds: Sequence[str] = KINDS,
) -> int:
    """Print a line for each fact about the checkouts in a folder, by groups with a title; the
    status to leave with."""
    started, failed, missing = time.time(), 0, {only} if only else set(kinds)
    for bench in benches(folder, only, kinds=kinds):
        missing.discard(bench.kind)
        for title, facts in groups(bench):
            try:
                for text, holds in facts:
                    failed += not holds
                    click.echo(f"{'PASS' if holds else 'FAIL'}  {title}: {text}")
            except Exception as error:  # one broken fact must not hide the others
                failed += 1
                click.echo(f"FAIL  {title}: {error}")
    for kind in sorted(missing):
        click.echo(f"MISS  {kind}: no checkout of it in {folder}")
    click.echo(f"{failed} failed, in {time.time() - started:.0f} s")
    return 1 if failed else 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", help="One of ada, sg3, genforce.")
def main(folder: Path, only: str | None) -> None:
    """Check the checkouts of hosts in FOLDER."""
    sys.exit(check(groups, folder, only))


if __name__ == "__main__":
    main()
