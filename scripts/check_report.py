"""Look at the page of `ganfix report` in headless Chromium, as it opens from disk.

Needs what `check_pages.py` needs: `apt-get install chromium`, `pip install playwright
axe-playwright-python`.

    python scripts/check_report.py --out screenshots

Makes pages of the face GAN, of a single seed and of a large generator; moves sliders by keyboard,
mouse and finger; asks axe-core about accessibility; measures letters and overflow on a phone; and
leaves screenshots, light and dark. Ends with status 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from axe_playwright_python.sync_playwright import Axe
from check_pages import CHROMIUM, GANFIX, NETWORK, check, failures
from playwright.sync_api import Browser, Page, sync_playwright
from torch import nn

GATED = "--correct=seqabl:lowest=30%,layers=4x4+8x8,gate=lr:70%,samples=1000"
LARGE = ["--network=check_report:large", f"--host={Path(__file__).parent}", "--device=cpu"]
# How large letters are on the screen: those of a plot are as large as it is drawn.
LETTERS = """
[...document.querySelectorAll("body *")]
  .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
    && each.checkVisibility())
  .map((each) => {
    const turned = each.getScreenCTM?.();
    const scale = turned ? Math.hypot(turned.a, turned.b) : 1;
    return parseFloat(getComputedStyle(each).fontSize) * scale;
  })
"""


def large() -> nn.Module:
    """Busy images of 1024×1024, hard to compress, in the shape of a DCGAN."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.ConvTranspose2d(8, 16, 4), nn.ReLU()]
    for _ in range(7):
        layers += [nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.ReLU()]
    G = nn.Sequential(*layers, nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh())
    for layer in G[::2]:
        nn.init.normal_(layer.weight, std=(2 / 64) ** 0.5)
    return G.eval()


def make(out: Path, name: str, *arguments: str) -> Path:
    """The page of a run."""
    command = [*GANFIX, "report", *arguments, f"--out={out / name}"]
    done = subprocess.run(command, text=True, capture_output=True)
    check(f"{name}: made", done.returncode == 0, done.stderr[-300:] if done.returncode else "")
    path = out / name / "report.html"
    size = path.stat().st_size / 1e6
    check(f"{name}: under 10 MB", size < 10, f"{size:.2f} MB")
    return path


@contextmanager
def open_page(browser: Browser, path: Path, **options: Any) -> Iterator[Page]:
    """The page as from a double click; what its console says and what it asks for is noticed."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.on("console", lambda said: check("nothing on the console", False, said.text))
    page.on("pageerror", lambda error: check("no script error", False, error))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    try:
        yield page
        others = [url[:60] for url in asked if not url.startswith(("file:", "data:"))]
        others += [url for url in asked if url.startswith("file:") and url != path.as_uri()]
        check("nothing else is loaded", not others, others)
    finally:
        context.close()


def look_at(page: Page, out: Path, name: str) -> None:
    """A screenshot, axe-core's opinion, and whether the page is as wide as the window."""
    page.screenshot(path=out / f"{name}.png", full_page=True)
    found = Axe().run(page).response["violations"]
    told = "; ".join(f"{v['id']}: {v['nodes'][0]['html'][:80]}" for v in found)
    check(f"axe-core finds nothing: {name}", not found, told)
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    check(f"no scrolling sideways: {name}", width <= 0, width)


def slide(page: Page) -> None:
    """Keys move the line between before and after; holding an image shows it before."""
    slider, frame = page.locator(".slides input").first, page.locator(".slides .frame").first
    seen = {}
    slider.focus()
    for key, said in (("Home", "0 % before, 100 % after"), ("End", "100 % before, 0 % after")):
        page.keyboard.press(key)
        seen[key] = frame.screenshot()
        found = slider.get_attribute("aria-valuetext")
        check(f"{key} moves the slider", found == said, found)
    check("each end of the slider is another picture", len(set(seen.values())) == 2)
    page.keyboard.press("ArrowLeft")
    check("an arrow moves it by a step", slider.input_value() == "99", slider.input_value())
    box = frame.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 20)
    page.mouse.down()
    check("held, an image is as before", slider.input_value() == "100")
    page.mouse.up()
    check("let go, it is as after", slider.input_value() == "0")
    page.locator(".enlarge").first.click()
    large = page.locator("dialog img").first
    check("a picture is enlarged", large.is_visible() and bool(large.bounding_box()))
    page.keyboard.press("Escape")
    check("and put away by a key", not large.is_visible())


def views(page: Page, out: Path, name: str) -> None:
    """The other two pictures of each pair."""
    for view, shown in (("what changed", ".change"), ("low-rate neurons", ".heat")):
        page.get_by_label(view, exact=True).check()
        visible = page.locator(f"{shown} img").first.is_visible()
        check(f"{view}: shown instead", visible and page.locator(".slider:visible").count() == 0)
        page.screenshot(path=out / f"{name}-{shown[1:]}.png")
    page.get_by_label("before and after", exact=True).check()


def phone(browser: Browser, path: Path, out: Path, name: str) -> None:
    """400 px wide, touched by a finger."""
    narrow: dict[str, Any] = {"viewport": {"width": 400, "height": 800}, "has_touch": True}
    with open_page(browser, path, **narrow) as page:
        look_at(page, out, f"{name}-narrow")
        smallest = min(page.evaluate(LETTERS))
        check("letters of 10 px and more on a phone", smallest >= 10, f"{smallest:.1f} px")
        page.locator(".enlarge").first.tap()
        width = page.locator("dialog").bounding_box()
        check("enlarged, a seed fits a phone", bool(width) and width["width"] <= 400, width)
        page.screenshot(path=out / f"{name}-narrow-large.png")


def without_script(browser: Browser, path: Path, out: Path, name: str) -> None:
    """Both images side by side."""
    with open_page(browser, path, java_script_enabled=False) as page:
        sides = [page.locator(f".slides .{side} img").first for side in ("before", "after")]
        boxes = [side.bounding_box() for side in sides]
        apart = boxes[0] and boxes[1] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        check("without the script both images stand side by side", bool(apart))
        check("and nothing that would need it is shown", not page.locator("input:visible").count())
        page.screenshot(path=out / f"{name}-no-script.png", full_page=True)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="for screenshots and pages")
    out: Path = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pages = {
        "face": make(out, "face", *NETWORK, GATED, "--num=1000"),
        "single": make(out, "single", *NETWORK, GATED, "--num=1"),
        "none": make(out, "none", *NETWORK, "--correct=none", "--samples=1000", "--num=20"),
        "large": make(out, "large", *LARGE, "--correct=random:portion=20%", "--samples=50"),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        for name, path in pages.items():
            for scheme in ("light", "dark"):
                print(f"\n{name}, {scheme}", flush=True)
                with open_page(browser, path, color_scheme=scheme) as page:
                    look_at(page, out, f"{name}-{scheme}")
                    if name in ("face", "large"):
                        slide(page)
                        views(page, out, f"{name}-{scheme}")
        for name in ("face", "large"):
            print(f"\n{name}, a phone, and no script", flush=True)
            phone(browser, pages[name], out, name)
            without_script(browser, pages[name], out, name)
        browser.close()
    print(f"\n{len(failures)} failures" if failures else "\nAll as it should be")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
