"""Commands that are killed at random moments: taken up again, they leave what others leave.

    python tests/fuzz_kills.py --kills 1000 --seed 0

Each command runs once undisturbed, and then in other folders again and again, where ``kill -9``
ends it at a random moment, until it is done before that. What it leaves then must be equal byte for
byte; what lies where users look must be whole at every moment; and an answer of which the label
page heard that it is saved must be there. Commands are forked from this process, which has imported
everything, so that the moments fall into what they do and not into Python's start;
`scripts/check_resume.py` kills whole processes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from generators import dcgan
from PIL import Image
from prepared import EXTRACTOR, judged, uncorrected
from safetensors import safe_open
from served import NETWORK, Client

from examples import EXAMPLES
from ganfix_plugin import cli, labels
from ganfix_plugin.hosts import launcher
from ganfix_plugin.web.answers import Answers

OUT = "out"
# Locks, what was worked out so far, and what commands say.
_ASIDE = re.compile(r"\.lock$|\.measuring$|\.partial$|\.parts/|\.writing-|said\.txt$|failed\.txt$")
_TIMES = re.compile(r'"(total_time|total_time_str|timestamp)": ("[^"]*"|[\d.e-]+),? ?')


@dataclass(frozen=True)
class Work:
    """A command, those that must have run before it, and how many ranks share it."""

    name: str
    words: str
    before: tuple[str, ...] = ()
    ranks: int = 1
    checkout: Path | None = None


@dataclass
class Tally:
    """What came of killing one command.

    Attributes:
        lost: what a whole run leaves and this one has not, or not whole, at any moment.
        silent: what differs though the command ended well.
        failed: runs that did not end well, or showed a traceback.
    """

    name: str
    kills: int = 0
    rounds: int = 0
    lost: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def found(self) -> list[str]:
        """All that is wrong, a line each."""
        kinds = {"lost": self.lost, "silent": self.silent, "failed": self.failed}
        return [f"{self.name}: {kind}: {what}" for kind in kinds for what in kinds[kind]]

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.kills} kills in {self.rounds} rounds, {len(self.lost)} lost, "
            f"{len(self.silent)} silent, {len(self.failed)} failed"
        )


class Failed(Exception):
    """A command did not end well where nobody killed it."""


_NET = " ".join(NETWORK)
_FIT = f"fit {_NET} --labels labels.csv --extractor {EXTRACTOR}"
_SCORE = f"score {_NET} --labels labels.csv --samples 300"
_SEQABL = "--correct seqabl:samples=2000"
_FID = "run --device cpu calc_metrics.py --metrics=fid200 --data=REAL --network=OUT/net.pkl"
_IMAGES = "run --device cpu generate.py --network=OUT/net.pkl --seeds=0-15 --outdir=OUT"

WORKS = (
    Work("profile", f"profile {_NET} --samples 6000 --batch 20 --out out/profile.safetensors"),
    Work("profile, halves", f"profile {_NET} --batch 20"),
    Work(
        "ranks",
        f"profile {_NET} --samples 6000 --batch 20 --out out/profile.safetensors",
        ranks=2,
    ),
    Work("prepare", f"prepare {_NET} --extractor {EXTRACTOR} --num 200 --top 40 --samples 300"),
    Work("fit", _FIT),
    Work("score", _SCORE, (_FIT,)),
    Work("score in ranks", _SCORE, (_FIT,), ranks=2),
    Work("detect", f"detect {_NET} --num 100 --samples 300 --top 4 --out out"),
    Work(
        "evaluate",
        f"evaluate {_NET} --real real --extractor {EXTRACTOR} --num 200 --resamples 5 "
        f"{_SEQABL} --out out/figures.json",
    ),
    Work(
        "evaluate in ranks",
        f"evaluate {_NET} --real real --extractor {EXTRACTOR} --num-gen 200 --resamples 5 "
        f"{_SEQABL} --out out/figures.json",
        ranks=2,
    ),
    Work(
        "labels",
        f"labels auto {_NET} --real real --extractor {EXTRACTOR} --num 200 --top 40 --samples 300 "
        "--out out/labels.csv",
    ),
    Work("export", f"export {_NET} {_SEQABL} --out out/bundle.safetensors"),
    Work("images", f"{_IMAGES} {_SEQABL}", checkout=EXAMPLES / "stylegan2_small"),
    Work("metrics", f"{_FID} {_SEQABL}", checkout=EXAMPLES / "stylegan2_small"),
)


class Ground:
    """A folder in which commands run, each time in another place, from the same beginnings."""

    def __init__(self, folder: Path, network: Path | None = None) -> None:
        cli.main.list_commands(click.Context(cli.main))  # imports them all
        self.folder, self.network = folder, network
        self.places = 0
        self.real = folder / "real"
        self.real.mkdir()
        G = dcgan()
        self.labels = folder / "labels.csv"
        labels.write(judged(G), self.labels)
        images = uncorrected(G, range(1000, 1200)).permute(0, 2, 3, 1)
        for number, image in enumerate(images):
            pixels = (image * 127.5 + 128).clamp(0, 255).byte().numpy()
            Image.fromarray(pixels).save(self.real / f"{number:03}.png")
        (folder / "footwear").mkdir()
        for number in range(200):
            noise = np.random.RandomState(number).randint(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "footwear" / f"{number:03}.png")

    def place(self, work: Work) -> Path:
        """A new folder in which what comes before a work was done."""
        origin = self.folder / re.sub(r"\W", "_", work.name)
        if not origin.exists():
            (origin / OUT).mkdir(parents=True)
            (origin / "real").symlink_to(self.real)
            shutil.copy(self.labels, origin)
            if work.checkout:
                assert self.network, "this needs a network pickle"
                shutil.copy(self.network, origin / OUT / "net.pkl")
                shutil.copy(self.network.with_name("detector.pt"), origin / OUT)
            for words in work.before:
                self.finish(Work(work.name, words), origin)
        self.places += 1
        place = self.folder / "places" / str(self.places)
        shutil.copytree(origin, place, symlinks=True)
        return place

    def start(self, work: Work, place: Path) -> list[int]:
        """Its processes, by rank."""
        # All places have one name, so that what is written does not differ by it.
        return [self._fork(work, place, rank) for rank in range(work.ranks)]

    def _fork(self, work: Work, place: Path, rank: int) -> int:
        sys.stdout.flush()
        if process := os.fork():
            with suppress(PermissionError):  # it has done so itself
                os.setpgid(process, process)
            return process
        status = 1
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            said = os.open(place / "said.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
            os.dup2(said, 1)
            os.dup2(said, 2)
            # Those of this process may be pytest's.
            sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            os.environ |= {
                "GANFIX_CACHE": str(place / "cache"),
                "DNNLIB_CACHE_DIR": str(place / "dnnlib"),
                "RANK": str(rank),
                "WORLD_SIZE": str(work.ranks),
            }
            os.chdir(work.checkout or place)
            real = self.folder / "footwear"
            text = work.words.replace("OUT", str(place / OUT)).replace("REAL", str(real))
            status = _ganfix(text.split())
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def finish(self, work: Work, place: Path) -> float:
        """Run it to its end; returns the seconds that it took."""
        start = time.monotonic()
        statuses = [os.waitpid(process, 0)[1] for process in self.start(work, place)]
        if any(statuses):
            raise Failed(said(place)[-2000:])
        return time.monotonic() - start

    def killed(self, work: Work, place: Path, moments: Sequence[float]) -> int:
        """How many of its processes were killed, each at its moment, in seconds, or were done."""
        processes = self.start(work, place)
        start, left, kills = time.monotonic(), dict(zip(processes, moments)), 0
        while left:
            for process, moment in list(left.items()):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    del left[process]
                    if status:
                        for other in left:
                            os.killpg(other, signal.SIGKILL)
                            os.waitpid(other, 0)
                        raise Failed(said(place)[-2000:])
                elif time.monotonic() - start >= moment:
                    os.killpg(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                    del left[process]
                    kills += 1
            time.sleep(0.0005)
        return kills


def _ganfix(words: list[str]) -> int:
    if words[0] == "run":
        return launcher.run(words[3], words[4:], words[2])
    cli.main(words, prog_name="ganfix")
    return 0


def said(place: Path) -> str:
    """What commands have printed in a place."""
    return (place / "said.txt").read_text(errors="replace")


def half_written(place: Path, whole: dict[str, bytes]) -> list[str]:
    """The files of a place that are neither whole nor on their way."""
    names = []
    for name, content in left_by(place).items():
        if name.startswith(OUT) and not name.endswith(".pkl"):
            if content != whole.get(name):
                names.append(name)
        elif name.endswith(".safetensors"):
            try:
                safe_open(place / name, framework="pt")
            except Exception as error:
                names.append(f"{name} ({error})")
    return names


def left_by(place: Path) -> dict[str, bytes]:
    """All files that a command has left, by name, but for those of no meaning; times left out."""
    files = (file for file in place.rglob("*") if file.is_file() and not file.is_symlink())
    named = {str(file.relative_to(place)): file for file in files}
    return {
        name: _without_times(file, place)
        for name, file in named.items()
        if not _ASIDE.search(name) and not name.startswith("dnnlib")
    }


def _without_times(file: Path, place: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix == ".jsonl":  # of a host, which adds a line in every run
        content = content.splitlines()[-1]
    if file.suffix in (".json", ".jsonl"):
        text = content.decode().replace(str(place), "PLACE")
        runs = json.loads(text)
        # A run that was killed after its record was written has left one more of them.
        content = json.dumps(runs[-1:] if isinstance(runs, list) else runs).encode()
        content = _TIMES.sub("", content.decode()).encode()
    return content


def kill(ground: Ground, work: Work, kills: int, chance: random.Random) -> Tally:
    """Kill a work so many times, and compare what it leaves with what it leaves undisturbed."""
    reference, tally = ground.place(work), Tally(work.name)
    seconds = ground.finish(work, reference)
    whole = left_by(reference)
    while tally.kills < kills:
        place, now = ground.place(work), 1
        tally.rounds += 1
        try:
            while now and tally.kills < kills:
                moments = [chance.uniform(0, 1.1 * seconds) for _ in range(work.ranks)]
                start = time.monotonic()
                now = ground.killed(work, place, moments)
                if not now:  # what was taken up takes less; other work on the machine, more
                    seconds = min(seconds, time.monotonic() - start)
                tally.kills += now
                tally.lost += half_written(place, whole)
            if now:
                ground.finish(work, place)
        except Failed as failure:
            tally.failed.append(str(failure))
            continue
        if "Traceback" in said(place):
            tally.failed.append(said(place)[-2000:])
        there = left_by(place)
        tally.lost += sorted(whole.keys() - there.keys())
        tally.silent += sorted(name for name in there if there[name] != whole.get(name))
        tally.silent += [path.name for path in place.rglob(".writing-*")]
        shutil.rmtree(place)
    return tally


def kill_servers(ground: Ground, kills: int, chance: random.Random) -> Tally:
    """Kill the label page while answers come in, and look for those that it said are saved."""
    words = f"label {_NET} --port 0 --raters ann --answers answers.sqlite --num 500 --order random"
    work, saved = Work("server", f"{words} --samples 200"), dict[int, str]()
    place, tally = ground.place(work), Tally("server", kills, kills)
    for _ in range(kills):
        (place / "said.txt").write_text("")
        (process,) = ground.start(work, place)
        while not (match := re.search(r":(\d+)/ann/\?token=(\S+)\n", said(place))):
            time.sleep(0.002)
            if os.waitpid(process, os.WNOHANG)[0]:
                raise Failed(said(place))
        client = Client(int(match[1]), "ann", match[2])
        until = time.monotonic() + chance.uniform(0, 0.15)
        child = os.fork()
        if not child:  # kills while this process waits for its answer
            time.sleep(max(0, until - time.monotonic()))
            os.killpg(process, signal.SIGKILL)
            os._exit(0)
        try:
            while True:
                seed, kind = chance.randrange(500), chance.choice(labels.KINDS)
                before = saved.pop(seed, None)  # until the page says so, either may be kept
                if client.label((seed, kind)).status != 200:
                    tally.failed.append(f"answer {seed} was refused")
                saved[seed] = kind
        except (OSError, http.client.HTTPException):
            del before
        os.waitpid(child, 0)
        os.waitpid(process, 0)
        answers = Answers(place / "answers.sqlite")
        kept = {item.seed: item.answer for item in answers.labelled("ann", "")}
        answers.close()
        tally.lost += [f"answer {seed}" for seed, kind in saved.items() if kept.get(seed) != kind]
    return tally


def network_pickle(folder: Path) -> Path:
    """The network of examples/stylegan2_small."""
    path = folder / "footwear32.pkl"
    os.system(
        f"cd {EXAMPLES / 'stylegan2_small'} && {sys.executable} make_network.py --out={path} "
        ">/dev/null"
    )
    return path


Fuzz = Callable[[Ground, int, random.Random], Tally]


@click.command()
@click.option("--kills", default=1000, show_default=True, help="In all.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", default="", help="The works whose name begins so.")
def main(kills: int, seed: int, only: str) -> None:
    """Kill commands and take them up again."""
    torch.set_num_threads(1)
    chance, found = random.Random(seed), list[str]()
    works: dict[str, Fuzz] = {
        work.name: lambda ground, kills, chance, work=work: kill(ground, work, kills, chance)  # type: ignore[misc]
        for work in WORKS
    }
    works["server"] = kill_servers
    chosen = {name: work for name, work in works.items() if name.startswith(only)}
    with TemporaryDirectory() as folder:
        os.environ["GANFIX_CACHE"] = str(Path(folder, "cache"))
        ground = Ground(Path(folder), network_pickle(Path(folder)))
        for work in chosen.values():
            start = time.monotonic()
            tally = work(ground, -(-kills // len(chosen)), chance)
            click.echo(f"{tally}; {(time.monotonic() - start) / tally.kills:.1f} s each")
            found += tally.found
    click.echo("\n".join([*found, f"--seed {seed}: {len(found)} found"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
