"""Drive the pages of `ganfix label` and `ganfix judge` in headless Chromium, by keyboard only.

Needs what CI has not: `apt-get install chromium`, `pip install playwright axe-playwright-python`.

    make docs
    python scripts/check_pages.py --out screenshots

Labels images of the face GAN as two raters at once, with undo, a reload and a killed server on the
way; goes through 2,000 images with a stop-watch; judges corrections; asks axe-core about
accessibility; and leaves screenshots, light and dark, of the built documentation, too. Ends with
status 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
EXAMPLE, SITE = ROOT / "examples" / "face_gan", ROOT / "site"
NETWORK = ["--network=legacy:generator", f"--host={EXAMPLE}", "--device=cpu"]
GANFIX = [sys.executable, "-m", "ganfix_plugin"]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# When a key went down, and when the image after it was decoded, laid out and about to be painted.
STOP_WATCH = """
window.keys = []; window.shown = [];
addEventListener("keydown", (event) => window.keys.push(event.timeStamp), true);
addEventListener("DOMContentLoaded", () => {
  const frame = document.getElementById("frame");
  if (!frame) return;
  new MutationObserver(() => requestAnimationFrame((time) => window.shown.push(performance.now())))
    .observe(frame, { attributes: true, attributeFilter: ["data-seed"] });
});
"""
LOADED = "[...document.querySelectorAll('.side img')].every((image) => image.seen)"
failures: list[str] = []


def check(what: str, good: bool, found: object = "") -> None:
    """Say how something went, and remember it if it went wrong."""
    print(f"{'ok  ' if good else 'FAIL'} {what} {found}".rstrip(), flush=True)
    if not good:
        failures.append(what)


class Server:
    """A `ganfix` process that serves pages."""

    def __init__(self, *arguments: str, port: int = 0):
        self.arguments, self.port = arguments, port

    def start(self) -> None:
        """Start, and read the links."""
        began = time.perf_counter()
        command = [*GANFIX, *self.arguments, f"--port={self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.links: dict[str, str] = {}
        assert self.process.stdout
        raters = next(a for a in self.arguments if a.startswith("--raters="))[9:].split(",")
        while len(self.links) < len(raters):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the server ended before it printed its links")
            if found := re.match(r"(\w+): (http\S+)", line):
                self.links[found[1]] = found[2]
        self.port = int(re.search(r":(\d+)/", next(iter(self.links.values())))[1])  # type: ignore[index]
        print(f"     links printed after {time.perf_counter() - began:.1f} s", flush=True)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def memory(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    """A server that is gone afterwards."""
    server = Server(*arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def open_page(browser: Browser, link: str, **options: object) -> Iterator[Page]:
    """A page in a browser profile of its own; errors on its console are failures."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})  # type: ignore[arg-type]
    page = context.new_page()
    page.add_init_script(STOP_WATCH)
    page.on("pageerror", lambda error: check("no script error", False, error))
    page.goto(link)
    try:
        yield page
    finally:
        context.close()


def wait_for(page: Page, expression: str, seconds: float = 20) -> None:
    """Wait until something is true on a page (Playwright's own way would need unsafe-eval)."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s for {expression}")
        time.sleep(0.005)


def shown_seed(page: Page) -> int:
    """The seed that is on screen, once it is."""
    page.wait_for_selector("#frame[data-seed] img")
    seed = page.evaluate("/(\\d+)\\.png/.exec(document.querySelector('#frame img').src)[1]")
    wait_for(page, f"document.querySelector('#frame').dataset.seed === '{seed}'")
    return int(seed)


class Rater:
    """Somebody who labels by keyboard, and remembers what they said."""

    def __init__(self, page: Page, judge: Callable[[int], str]):
        self.page, self.judge = page, judge
        self.said: dict[int, tuple[str, str]] = {}
        self.order: list[int] = []

    def answer(self, key: str | None = None) -> None:
        """Press the key for the image on screen."""
        seed = shown_seed(self.page)
        key = key or self.judge(seed)
        answers = {"a": ("artifact", ""), "n": ("normal", ""), "s": ("skip", "")}
        self.said[seed] = answers.get(key) or ("artifact", ("face", "hair")[int(key) - 1])
        self.order.append(seed)
        self.page.keyboard.press(key)
        wait_for(self.page, f"!document.querySelector('#frame img').src.includes('/{seed}.png')")

    def undo(self) -> None:
        """Take the last answer back."""
        seed = self.order.pop()
        del self.said[seed]
        self.page.keyboard.press("u")
        wait_for(self.page, f"document.querySelector('#frame img').src.includes('/{seed}.png')")

    def all_saved(self) -> None:
        """Wait until the page says so."""
        self.page.wait_for_selector("#saved[data-state=saved]", timeout=20_000)


def rows(file: Path, rater: str) -> list[tuple[int, str, str]]:
    """What is in the database."""
    with sqlite3.connect(file) as db:
        query = "SELECT seed, answer, criterion FROM labels WHERE rater = ? AND correction = ''"
        return db.execute(query, (rater,)).fetchall()


def label_forty(browser: Browser, folder: Path) -> None:
    """Two raters label 40 images each; undo, reload, kill -9; nothing lost, nothing doubled."""
    print("\nLabelling by keyboard, two raters at once")
    file = folder / "forty.sqlite"
    arguments = ["label", *NETWORK, "--raters=ann,ben", f"--answers={file}", "--criteria=faces"]
    with serving(*arguments) as server:
        with sqlite3.connect(file) as db:
            counts = dict(db.execute("SELECT seed, value FROM scores"))
        middle = statistics.median(counts.values())

        def judge(seed: int) -> str:
            return "a" if counts[seed] > middle else "n"

        links = server.links
        with open_page(browser, links["ann"]) as one, open_page(browser, links["ben"]) as two:
            ann, ben = Rater(one, judge), Rater(two, judge)
            for _ in range(10):
                ann.answer()
                ben.answer()
            ann.undo()
            ann.undo()
            ann.answer("1")  # the two again: by a criterion, and as before
            ann.answer()
            ann.answer()
            one.reload()  # the answer before it is on its way
            for _ in range(5):
                ann.answer()
                ben.answer()
            ann.undo()  # one from before the kill, after a reload
            ann.answer()
            ann.answer()
            server.kill()
            for _ in range(3):
                ann.answer()
                ben.answer()
            waits = one.locator("#saved").get_attribute("data-state") == "waiting"
            check("the page says that answers wait", waits, one.locator("#saved").inner_text())
            server.start()
            one.goto(server.links["ann"])
            two.goto(server.links["ben"])
            for rater in (ann, ben):
                while len(rater.said) < 40:
                    rater.answer()
                rater.all_saved()
            for rater, name in ((ann, "ann"), (ben, "ben")):
                found = rows(file, name)
                kept = {seed: (answer, criterion) for seed, answer, criterion in found}
                check(f"{name}: 40 answers in the database", len(found) == 40, len(found))
                check(f"{name}: each is what was pressed, none lost or doubled", kept == rater.said)
            check("the raters see the same queue", set(ann.said) == set(ben.said))
    table = folder / "labels.csv"
    subprocess.run([*GANFIX, "labels", "export", str(file), f"--out={table}"], check=True)
    fit = [*GANFIX, "fit", *NETWORK, f"--labels={table}", f"--out={folder / 'head.safetensors'}"]
    done = subprocess.run([*fit, "--extractor=efficientnet-lite0"], text=True, capture_output=True)
    print("    ", done.stdout.replace("\n", "\n     "), done.stderr)
    check("the export fits a classifier", done.returncode == 0)


def two_thousand(browser: Browser, folder: Path, num: int, pace: float) -> None:
    """All of 2,000 images, with a stop-watch; ``pace`` seconds to look at each."""
    print(f"\n{num} images by keyboard, {pace} s each, load {os.getloadavg()[0]:.1f}")
    file = folder / "all.sqlite"
    arguments = ["label", *NETWORK, "--raters=ann", f"--answers={file}", f"--num={num}"]
    with serving(*arguments) as server, open_page(browser, server.links["ann"]) as page:
        wait_for(page, "window.shown.length == 1")
        first = page.evaluate("window.shown[0]")
        check("first image in under 2 s", first < 2000, f"{first:.0f} ms")
        memory = {0: server.memory()}
        delays, decoding = [], []
        for done in range(1, num):
            time.sleep(pace)
            page.keyboard.press("a" if done % 2 else "n")
            wait_for(page, f"window.shown.length > {done}")
            delays.append(page.evaluate("window.shown.at(-1) - window.keys.at(-1)"))
            decoding.append(page.evaluate("+document.querySelector('#frame').dataset.waited"))
            if done % 250 == 0:
                memory[done] = server.memory()
                late = sum(delay >= 100 for delay in delays)
                told = f"{memory[done]:.0f} MiB, {late} over 100 ms, load {os.getloadavg()[0]:.1f}"
                print(f"     {done}: {told}", flush=True)
        page.keyboard.press("a")
        page.wait_for_selector("#done:not([hidden])")
        page.wait_for_selector("#saved[data-state=saved]", timeout=20_000)
        print(f"     key to paint: {spread(delays)}")
        print(f"     of it, waiting for the image: {spread(decoding)}")
        share = sum(delay < 100 for delay in delays) / len(delays)
        check("next image in under 100 ms (99 of 100)", share >= 0.99, f"{share:.1%}")
        check("all saved", len(rows(file, "ann")) == num)
        # The first half reads the units and fills the caches; a leak shows in the second, in
        # which each training comes and goes with some 60 MiB, in the allocator's several arenas.
        half, late = memory[max(each for each in memory if each <= num / 2)], server.memory()
        check("memory bounded", late - half < 128, f"{half:.0f} → {late:.0f} MiB")


def spread(times: list[float]) -> str:
    """Milliseconds in a line."""
    ordered = sorted(times)
    late, worst = ordered[int(0.99 * len(ordered))], ordered[-1]
    return f"median {statistics.median(times):.0f} ms, 99 % {late:.0f} ms, worst {worst:.0f} ms"


def judge_ten(browser: Browser, folder: Path, out: Path) -> None:
    """Both questions about ten corrected images, by keyboard only, by two raters."""
    print("\nJudging by keyboard")
    file = folder / "forty.sqlite"
    spec = "--correct=seqabl:lowest=30%,layers=4x4+8x8"
    arguments = ["judge", *NETWORK, spec, f"--answers={file}", "--criteria=faces", "--num=10"]
    with serving(*arguments, "--raters=ann,ben") as server:
        for name, scheme in (("ann", "light"), ("ben", "dark")):
            with open_page(browser, server.links[name], color_scheme=scheme) as page:
                heard: list[str] = []
                page.on("response", lambda reply: heard.append(f"{reply.url} {reply.headers}"))
                shown_seed(page)
                look_at(page, out, f"judge-first-{scheme}")
                rater = Rater(page, lambda seed: "n" if seed % 3 else "a")
                for _ in range(9):
                    rater.answer()
                page.keyboard.press(rater.judge(shown_seed(page)))
                page.wait_for_selector("#done:not([hidden])")
                look_at(page, out, f"judge-between-{scheme}")
                page.keyboard.press("Tab")  # the heading has the focus, the link comes next
                page.keyboard.press("Enter")
                page.wait_for_selector("#stage[data-seed]")
                wait_for(page, LOADED)
                page.keyboard.press("ArrowLeft")
                page.keyboard.press("ArrowDown")
                look_at(page, out, f"judge-second-{scheme}")
                page.keyboard.press("u")
                page.keyboard.press("u")
                for number in range(10):
                    wait_for(page, f"document.getElementById('bar').value === {number} && {LOADED}")
                    page.keyboard.press("ArrowLeft" if number % 2 else "r")
                    for key in ("ArrowRight", "e", "l"):
                        page.keyboard.press(key)
                    page.keyboard.press("Enter")
                    if number == 4:
                        page.keyboard.press("Backspace")
                        wait_for(page, "document.getElementById('bar').value === 4")
                        wait_for(page, LOADED)
                        page.keyboard.press("ArrowRight")
                        page.keyboard.press("Enter")
                        page.reload()
                        page.wait_for_selector("#stage[data-seed]")
                page.wait_for_selector("#done:not([hidden])")
                page.wait_for_selector("#saved[data-state=saved]")
                told = " ".join(heard)
                check("no address or header tells the sides", "correct" not in told.lower())
    with sqlite3.connect(file) as db:
        pairs = "SELECT rater, COUNT(DISTINCT seed), COUNT(*) FROM verdicts GROUP BY rater"
        found = db.execute(pairs).fetchall()
    check("ten pairs, five questions each", found == [("ann", 10, 50), ("ben", 10, 50)], found)
    command = [*GANFIX, "judge", "--summary", f"--answers={file}", f"--out={out / 'summary.png'}"]
    done = subprocess.run(command, text=True, capture_output=True)
    print("    ", done.stdout.replace("\n", "\n     "), done.stderr)
    check("the summary is shown", done.returncode == 0)


def accessibility(browser: Browser, folder: Path, out: Path) -> None:
    """axe-core on every view, light and dark; everything reachable by Tab; screenshots."""
    print("\nAccessibility and screenshots")
    file = folder / "forty.sqlite"
    arguments = [
        "label",
        *NETWORK,
        "--raters=ann,ben,cleo",
        f"--answers={file}",
        "--criteria=faces",
    ]
    with serving(*arguments) as server:
        for scheme in ("light", "dark"):
            with open_page(browser, server.links["ann"], color_scheme=scheme) as page:
                look_at(page, out, f"label-large-{scheme}")
                page.keyboard.press("g")
                for key in ("a", "n", "s", "2"):
                    page.keyboard.press(key)
                look_at(page, out, f"label-grid-{scheme}")
                page.keyboard.press("?")
                look_at(page, out, f"label-keys-{scheme}")
                page.keyboard.press("Escape")
                for _ in range(4):
                    page.keyboard.press("u")
                page.wait_for_selector("#saved[data-state=saved]")
            narrow = {"width": 400, "height": 800}
            with open_page(
                browser, server.links["ann"], color_scheme=scheme, viewport=narrow
            ) as page:
                look_at(page, out, f"label-narrow-{scheme}")
                width = page.evaluate("document.documentElement.scrollWidth")
                check("400 px wide without scrolling sideways", width <= 400, width)
        with open_page(browser, server.links["cleo"]) as page:
            shown_seed(page)
            reached = set()
            for _ in range(20):
                page.keyboard.press("Tab")
                reached.add(
                    page.evaluate("document.activeElement.id || document.activeElement.textContent")
                )
                ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                on_body = page.evaluate("document.activeElement === document.body")
                if not on_body and ring == "none":
                    check(
                        "focus is visible", False, page.evaluate("document.activeElement.outerHTML")
                    )
            wanted = {"toggle-view", "open-help", "artifact", "normal", "skip"}
            check("all buttons are reached by Tab", wanted <= reached, wanted - reached)
            page.focus("#artifact")
            page.keyboard.press("Enter")
            wait_for(page, "document.getElementById('live').textContent.startsWith('artifact')")
            check("answers are announced", True, page.locator("#live").inner_text())
            page.keyboard.press("?")
            page.keyboard.press("Space")  # the switch has the focus
            page.keyboard.press("Escape")
            page.keyboard.press("n")
            page.wait_for_timeout(200)
            check("single keys can be switched off", len(rows(file, "cleo")) == 1)
            page.focus("#open-help")
            page.keyboard.press("Enter")
            page.keyboard.press("Space")
            page.keyboard.press("Escape")
            page.keyboard.press("g")
            wait_for(page, "[...document.querySelectorAll('.tile img')].every((each) => each.seen)")
            for key in ("ArrowRight", "ArrowDown", "a", "Home", "2", "Shift+N"):
                page.keyboard.press(key)
            page.wait_for_selector("#saved[data-state=saved]")
            kinds = [answer for _, answer, _ in rows(file, "cleo")]
            found = f"{kinds.count('artifact')} artifacts, {kinds.count('normal')} normals"
            check("a grid of 24 by keyboard", found == "3 artifacts, 22 normals", found)
            page.keyboard.press("g")
            shown_seed(page)
            alt = page.locator("#frame img").get_attribute("alt")
            check("the image has a text", bool(alt), alt)


def documentation(browser: Browser, out: Path) -> None:
    """Every page that `make docs` has built, light and dark, wide and narrow."""
    print("\nThe documentation")
    files = sorted(SITE.rglob("index.html"))
    check("it is built", bool(files), SITE)
    for file, scheme, width in itertools.product(files, ("light", "dark"), (1280, 400)):
        name = "-".join(file.relative_to(SITE).parts[:-1]) or "index"
        size = {"width": width, "height": 800}
        with open_page(browser, file.as_uri(), color_scheme=scheme, viewport=size) as page:
            wide, high = (page.evaluate(f"document.body.scroll{x}") for x in ("Width", "Height"))
            check(f"{name} fits {width} px, {scheme}", wide <= width, wide)
            clip = {"x": 0, "y": 0, "width": width, "height": min(high, 9000)}
            path = out / f"docs-{name}-{width}-{scheme}.png"
            page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]


def look_at(page: Page, out: Path, name: str) -> None:
    """A screenshot, and axe-core's opinion."""
    shown = "[...document.images].filter((each) => each.checkVisibility() && each.src)"
    wait_for(page, f"{shown}.every((image) => image.seen)")
    page.wait_for_timeout(100)
    page.screenshot(path=out / f"{name}.png")
    found = Axe().run(page).response["violations"]
    told = "; ".join(f"{v['id']}: {v['nodes'][0]['html'][:80]}" for v in found)
    check(f"axe-core finds nothing: {name}", not found, told)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="for screenshots and databases")
    parser.add_argument("--num", type=int, default=2000, help="images of the stop-watch")
    parser.add_argument("--pace", type=float, default=0.1, help="seconds to look at each of them")
    parser.add_argument("--only", nargs="*", default=["forty", "judge", "access", "many", "docs"])
    given = parser.parse_args()
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GANFIX_CACHE", str(out / "cache"))
    for old in out.glob("*.sqlite*"):
        old.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        if "forty" in given.only:
            label_forty(browser, out)
        if "judge" in given.only:
            judge_ten(browser, out, out)
        if "access" in given.only:
            accessibility(browser, out, out)
        if "many" in given.only:
            two_thousand(browser, out, given.num, given.pace)
        if "docs" in given.only:
            documentation(browser, out)
        browser.close()
    print(f"\n{len(failures)} failures" if failures else "\nAll as it should be")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
