"""Drive the page of `ganfix explore` in headless Chromium, by keyboard only.

Needs what `check_pages.py` needs: `apt-get install chromium`, `pip install playwright
axe-playwright-python`.

    python scripts/check_explore.py --out screenshots --checkout stylegan2-ada-pytorch

On the small StyleGAN2 of examples/: looks at every view, light and dark and on a phone, and asks
axe-core about it; chooses, with a killed server on the way; takes everything along, and has the
checkout's own generate.py render the latents; scrolls through 10,000 seeds; and takes the time from
a key to its paint, of another network by `--network` and `--host`, which `--only times` needs no
other part for. Ends with status 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from check_hosts import without_ganfix
from check_pages import CHROMIUM, check, failures, look_at, open_page, serving, spread, wait_for
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

EXAMPLE = Path(__file__).parents[1] / "examples" / "stylegan2_small"
SCHEMES, WIDTHS = ("light", "dark"), (1280, 400)
RANKED = "document.getElementById('ranked').textContent.includes('seeds by')"
LOADED = (
    "[...document.querySelectorAll('.tile img[src]')].length > 0 && "
    "[...document.querySelectorAll('.tile img[src]')].every((image) => image.seen)"
)
# When what a key asked for was decoded, laid out and about to be painted.
TIMED = """(what) => new Promise((resolve) => {
  const done = () => requestAnimationFrame(() => resolve(performance.now() - begun));
  const begun = performance.now();
  const watched = document.querySelector(what.of);
  new MutationObserver((_, observer) => (observer.disconnect(), done()))
    .observe(watched, { attributes: true, attributeFilter: [what.attribute], subtree: true });
  document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key: what.key, bubbles: true, cancelable: true }));
})"""


def rows(file: Path) -> dict[int, tuple[str, str]]:
    """The choices in the database."""
    with sqlite3.connect(file) as db:
        found = db.execute("SELECT seed, choice, note FROM choices").fetchall()
    return {seed: (choice, note) for seed, choice, note in found}


def ready(page: Page) -> None:
    """Wait until the grid is ranked and seen."""
    wait_for(page, RANKED, 120)
    wait_for(page, LOADED, 60)


def to_grid(page: Page) -> None:
    """Go to the first tile by Tab."""
    page.focus("#stage")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('tile')"):
            return
    check("the grid is reached by Tab", False)


def drawn(page: Page) -> int:
    """How many times the large image was drawn."""
    return int(page.evaluate("Number(document.querySelector('#frame').dataset.drawn ?? 0)"))


def press(page: Page, key: str) -> None:
    """Press a key and wait until the large image is drawn anew."""
    before = drawn(page)
    page.keyboard.press(key)
    wait_for(page, f"Number(document.querySelector('#frame').dataset.drawn ?? 0) > {before}", 60)


def here(page: Page) -> int:
    """The seed of the tile that has the focus."""
    return int(page.evaluate("document.activeElement.dataset.seed"))


def choosing(browser: Browser, network: list[str], out: Path) -> None:
    """Keep, reject and note by keyboard; a killed server on the way; nothing is lost."""
    print("\nChoosing by keyboard, and a kill")
    file = out / "chosen.sqlite"
    arguments = ["explore", *network, f"--answers={file}", "--raters=ann", "--num=300"]
    with serving(*arguments) as server, open_page(browser, server.links["ann"]) as page:
        ready(page)
        to_grid(page)
        said: dict[int, tuple[str, str]] = {}
        for key, choice in (("k", "keep"), ("r", "reject"), ("k", "keep"), ("k", "keep")):
            said[here(page)] = (choice, "")
            page.keyboard.press(key)
            page.keyboard.press("ArrowRight")
        page.keyboard.press("k")
        page.keyboard.press("k")  # taken back
        press(page, "Enter")
        seed = int(page.inner_text("#one-title").split()[1])
        page.keyboard.press("n")
        page.keyboard.type("one heel too many")
        page.keyboard.press("Enter")
        page.keyboard.press("r")
        said[seed] = ("reject", "one heel too many")
        page.wait_for_selector("#saved[data-state=saved]")
        server.kill()
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        said[here(page)] = ("keep", "")
        page.keyboard.press("k")
        page.wait_for_selector("#saved[data-state=waiting]")
        check("the page says that a choice waits", True)
        server.start()
        page.goto(server.links["ann"])
        ready(page)
        page.wait_for_selector("#saved[data-state=saved]")
        found = {seed: row for seed, row in rows(file).items() if any(row)}
        check("after kill -9, each choice is what was pressed", found == said, len(found))


def looking(browser: Browser, network: list[str], out: Path) -> None:
    """Every view, light and dark, wide and narrow; axe-core on each."""
    print("\nEvery view")
    names = {f"{scheme}{width}": (scheme, width) for scheme in SCHEMES for width in WIDTHS}
    raters = f"--raters={','.join(names)}"
    with serving("explore", *network, f"--answers={out / 'looked.sqlite'}", raters) as server:
        for name, (scheme, width) in names.items():
            size = {"width": width, "height": 800}
            with open_page(browser, server.links[name], color_scheme=scheme, viewport=size) as page:
                views(page, out, f"{scheme}-{width}")


def views(page: Page, out: Path, name: str) -> None:
    """Go through all views by keyboard."""
    ready(page)
    to_grid(page)
    for key in ("k", "ArrowRight", "r", "ArrowRight", "p", "ArrowDown", "p"):
        page.keyboard.press(key)
    wait_for(page, LOADED)
    look_at(page, out, f"explore-grid-{name}")
    press(page, "Enter")
    wait_for(page, "!document.querySelector('#scores').hidden")
    wait_for(page, "[...document.querySelectorAll('#columns img')].every((each) => each.seen)", 60)
    look_at(page, out, f"explore-one-{name}")
    page.keyboard.down("b")
    wait_for(page, "document.querySelector('#frame').dataset.side === 'before'")
    page.keyboard.up("b")
    wait_for(page, "!document.querySelector('#frame').dataset.side")
    press(page, "v")
    look_at(page, out, f"explore-change-{name}")
    press(page, "v")
    look_at(page, out, f"explore-heat-{name}")
    press(page, "v")
    press(page, "2")
    press(page, "[")
    page.evaluate(
        "document.querySelector('#panel').open = document.querySelector('#more').open = true"
    )
    look_at(page, out, f"explore-options-{name}")
    page.evaluate("document.querySelector('#panel').open = innerWidth > 1000")
    page.keyboard.press("1")
    page.keyboard.press("l")
    wait_for(page, "document.querySelector('#path-note').textContent.startsWith('From')", 60)
    page.keyboard.press("ArrowRight")
    look_at(page, out, f"explore-path-{name}")
    page.keyboard.press("t")
    wait_for(page, "document.querySelectorAll('#take-commands pre').length > 0")
    look_at(page, out, f"explore-take-{name}")
    page.keyboard.press("?")
    look_at(page, out, f"explore-keys-{name}")
    page.keyboard.press("Escape")
    wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    check(f"nothing to scroll sideways for: {name}", wide)


def taking(browser: Browser, network: list[str], checkout: Path, out: Path) -> None:
    """Everything that can be taken along, and what the checkout's own script makes of it."""
    print("\nTaking along")
    file = out / "taken.sqlite"
    arguments = ["explore", *network, f"--answers={file}", "--raters=ann", "--num=300"]
    with serving(*arguments) as server, open_page(browser, server.links["ann"]) as page:
        ready(page)
        to_grid(page)
        for _ in range(3):
            page.keyboard.press("k")
            page.keyboard.press("ArrowRight")
        page.wait_for_selector("#saved[data-state=saved]")
        page.keyboard.press("t")
        page.wait_for_selector("#take-commands pre")
        files = {}
        for number, name in ((0, "seeds.txt"), (2, "w.npz"), (4, "images.zip")):
            with page.expect_download() as download:
                page.focus(f"#downloads button >> nth={number}")
                page.keyboard.press("Enter")
            files[name] = out / name
            download.value.save_as(files[name])
        commands = page.locator("#take-commands code").all_inner_texts()
    seeds = [seed for seed, (choice, _) in rows(file).items() if choice == "keep"]
    check("seeds as text", len(files["seeds.txt"].read_text().split(",")) == 3, seeds)
    images = zipfile.ZipFile(files["images.zip"])
    (record,) = json.loads(images.read("ganfix.json"))
    check("a record of all of them", [*map(int, record["corrected_by_seed"])] == seeds)
    own = [pixels(images.read(f"seed{seed:04d}.png")) for seed in seeds]

    # In a Python that cannot import ganfix, and on the CPU, which the script itself cannot.
    shim = Path(__file__).with_name("without_ganfix.py")
    generate = [without_ganfix(), shim, "generate.py", f"--network={network_file(network)}"]
    rendered = out / "projected"
    plain = [*generate, f"--projected-w={files['w.npz']}", f"--outdir={rendered}"]
    path = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(plain, cwd=checkout, capture_output=True, text=True, env=path)
    check("generate.py --projected-w, unmodified", ran.returncode == 0, ran.stderr[-200:])
    theirs = [pixels(path.read_bytes()) for path in sorted(rendered.glob("*.png"))]
    check("its images have the page's own pixels", same(own, theirs))
    for folder, command in zip((out / "again", out / "hosted"), commands):
        folder.mkdir(exist_ok=True)
        words = shlex.split(command.replace("images", str(folder)))
        line = [sys.executable, "-m", "ganfix_plugin", *words[1:]]
        ran = subprocess.run(line, cwd=checkout, capture_output=True, text=True)
        theirs = [pixels((folder / f"seed{seed:04d}.png").read_bytes()) for seed in seeds]
        check(
            f"the same by: ganfix {words[1]}",
            same(own, theirs),
            ran.stderr[-200:] * (ran.returncode != 0),
        )


def pixels(content: bytes) -> np.ndarray:
    """[H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Whether two lists of images are the same, pixel for pixel."""
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def network_file(network: list[str]) -> str:
    """The file that --network names."""
    return network[0].partition("=")[2]


def scrolling(browser: Browser, network: list[str], out: Path, num: int) -> None:
    """Through thousands of seeds: all that is seen is rendered, nothing else is, nothing stays."""
    print(f"\n{num} seeds, without end")
    file = out / "scrolled.sqlite"
    arguments = ["explore", *network, f"--answers={file}", "--raters=ann", "--num=300"]
    with serving(*arguments) as server, open_page(browser, server.links["ann"]) as page:
        asked: set[str] = set()
        page.on("request", lambda one: asked.add(one.url) if "/images/" in one.url else None)
        ready(page)
        page.select_option("#end", "seed")
        page.evaluate(
            "document.querySelector('#size').value = 48; "
            "document.querySelector('#size').dispatchEvent(new Event('input'))"
        )
        wait_for(page, LOADED)
        to_grid(page)
        memory, most, seed = {}, 0, 0
        while seed < num:
            page.keyboard.press("PageDown")
            wait_for(page, LOADED, 60)
            seed = here(page)
            most = max(most, page.evaluate("document.querySelectorAll('.tile').length"))
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
            memory[seed] = (server.memory(), heap)
        first = next(value for at, value in memory.items() if at > num * 0.4)
        last = memory[seed]
        told = "; ".join(f"{one:.0f} → {other:.0f} MiB" for one, other in zip(first, last))
        grown = last[0] - first[0] < 64 and last[1] - first[1] < 16
        check(f"memory of server and page bounded from seed {num * 0.4:.0f} to {seed}", grown, told)
        check("tiles that are not seen are gone", most < 600, most)
        page.wait_for_timeout(500)
        check("nothing is rendered that was not seen", len(asked) < seed + 900, len(asked))


def timing(browser: Browser, network: list[str], out: Path, most: float) -> None:
    """From a key to its paint."""
    print(f"\nFrom a key to its paint, load {os.getloadavg()[0]:.1f}")
    file = out / "timed.sqlite"
    arguments = ["explore", *network, f"--answers={file}", "--raters=ann", "--num=64"]
    with serving(*arguments) as server, open_page(browser, server.links["ann"]) as page:
        ready(page)
        to_grid(page)
        large = {"of": "#frame", "attribute": "data-drawn"}
        for what, key, watched, limit in (
            ("a choice in the grid", "k", {"of": "#tiles", "attribute": "data-choice"}, 0.1),
            ("the next tile", "ArrowRight", {"of": "#tiles", "attribute": "tabindex"}, 0.1),
        ):
            check_times(page, what, [key] * 10, watched, limit)
        press(page, "Enter")
        page.wait_for_timeout(3000)
        check_times(page, "before, held", ["b"], {"of": "#frame", "attribute": "data-side"}, 0.1)
        page.keyboard.up("b")
        for number, name in enumerate(page.locator("#corrections label").all_inner_texts()):
            press(page, str(number + 1))
            press(page, "[")
            page.wait_for_timeout(1500)
            # Each another strength: what was shown before is there at once.
            check_times(page, f"strength of {name.split()[0]}", ["["] * 8, large, most)
        check_times(page, "the next image, corrected", ["ArrowRight"] * 5, large, 4 * most)


def check_times(
    page: Page, what: str, keys: list[str], watched: dict[str, str], limit: float
) -> None:
    """The median of some times must not be over a limit in seconds."""
    times = []
    for key in keys:
        times.append(page.evaluate(TIMED, {**watched, "key": key}))
        page.wait_for_timeout(700)
    check(f"{what}: under {limit} s", sorted(times)[len(times) // 2] < 1000 * limit, spread(times))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="for screenshots and databases")
    parser.add_argument("--checkout", type=Path, default=EXAMPLE, help="of stylegan2-ada-pytorch")
    parser.add_argument("--network", help="another network, for --only times")
    parser.add_argument("--host", help="its checkout")
    parser.add_argument("--correct", action="append", default=[], help="its corrections")
    parser.add_argument("--samples", help="latents for its LR count")
    parser.add_argument("--num", type=int, default=10_000, help="seeds to scroll through")
    parts = ["choose", "look", "take", "scroll", "times"]
    parser.add_argument("--only", nargs="*", default=parts, choices=parts)
    given = parser.parse_args()
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GANFIX_CACHE", str(out / "cache"))
    for old in out.glob("*.sqlite*"):
        old.unlink()
    checkout = given.checkout.resolve()
    file = out / "footwear32.pkl"
    subprocess.run([sys.executable, "make_network.py", f"--out={file}"], cwd=EXAMPLE, check=True)
    network = [f"--network={file}", f"--host={checkout}", "--device=cpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        if "choose" in given.only:
            choosing(browser, network, out)
        if "look" in given.only:
            looking(browser, network, out)
        if "take" in given.only:
            taking(browser, network, checkout, out)
        if "scroll" in given.only:
            scrolling(browser, network, out, given.num)
        if "times" in given.only:
            named = [f"--network={given.network}", f"--host={given.host}", "--device=cpu"]
            named += [f"--correct={spec}" for spec in given.correct]
            named += [f"--samples={given.samples}"] if given.samples else []
            timing(browser, named if given.network else network, out, 0.3)
        browser.close()
    print(f"\n{len(failures)} failures" if failures else "\nAll as it should be")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
