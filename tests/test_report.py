"""`ganfix report`: one page about a correction that needs nothing but itself."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import BigGANShaped, dcgan
from PIL import Image
from prepared import error, judged, prepare, run, uncorrected
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin.artifacts.ranking import score_seeds
from ganfix_plugin.artifacts.scores import SCORES, Scoring
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.evaluation.evaluate import evaluate
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import keep
from ganfix_plugin.pictures.sheet import pictured
from ganfix_plugin.profiling import sweep
from ganfix_plugin.reporting.pairs import LARGEST, Pair, encoded

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
FACE = ["--network=legacy:generator", f"--host={EXAMPLES / 'face_gan'}"]
TINY = ["--network=test_report:tiny", "--num=20", "--top=3"]
# Of this many samples no other test measures the face GAN: which layers were is shown.
GATED = "seqabl:samples=210,lowest=30%,layers=4x4+8x8,gate=lr:70%"
SPEC = "seqabl:samples=210,lowest=30%"


def tiny() -> nn.Module:
    """The generator that commands open by the name ``test_report:tiny``."""
    return dcgan()


def conditional() -> nn.Module:
    return BigGANShaped()


def broken(images: Tensor) -> Tensor:
    return torch.full((len(images), 4), torch.nan)


@dataclass
class Page(HTMLParser):
    """The page as its elements: (tag, attributes), and its text."""

    html: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("style", "script"):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def image(self, alt: str) -> np.ndarray:
        """The pixels of the image with an alternative text."""
        (source,) = (each["src"] for each in self.all("img") if each["alt"] == alt)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))

    @property
    def seeds(self) -> list[int]:
        """Those shown, in their order."""
        alts = (re.fullmatch(r"Seed (\d+) as generated", each["alt"]) for each in self.all("img"))
        return [int(match[1]) for match in alts if match]


def made(folder: Path, *options: object) -> Page:
    done = run("report", "--device=cpu", f"--out={folder}", *options)
    assert done.exit_code == 0, done.output
    assert [each.name for each in folder.iterdir()] == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Of the face GAN, gated."""
    folder = tmp_path_factory.mktemp("report")
    return made(folder, *FACE, f"--correct={GATED}", "--num=60", "--top=4")


def shown(images: Tensor) -> list[np.ndarray]:
    return [np.asarray(each) for each in pictured(images)]


def test_the_page_refers_to_nothing_but_itself(page: Page) -> None:
    assert page.html.startswith("<!doctype html>")
    assert "://" not in page.html and "@import" not in page.html
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
    assert set(re.findall(r"url\((.)", page.html)) == {"#"}


def test_the_browser_is_told_to_load_nothing(page: Page) -> None:
    policies = (each["content"] for each in page.all("meta") if "http-equiv" in each)
    assert next(policies).startswith("default-src 'none'; img-src data:;")


def test_everything_that_is_seen_has_a_text_for_those_who_do_not_see_it(page: Page) -> None:
    assert all(each["alt"] for each in page.all("img"))
    assert [each["role"] for each in page.all("svg") if each["aria-label"]] == ["img", "img"]
    sliders = [each for each in page.all("input") if each["type"] == "range"]
    assert len({each["aria-label"] for each in sliders}) == len(sliders) > 0


def test_names_of_elements_are_unique_and_what_is_referred_to_exists(page: Page) -> None:
    names = Counter(each["id"] for _, each in page.elements if "id" in each)
    assert set(names.values()) == {1}
    asked = {each["aria-labelledby"] for _, each in page.elements if "aria-labelledby" in each}
    assert asked | set(re.findall(r"url\(#(\w+)\)", page.html)) <= set(names)


def test_the_page_names_correction_generator_and_profile(page: Page, face: nn.Module) -> None:
    mark = fingerprint(face)
    profile = ganfix.profile(face, samples=210)
    assert str(parse_spec(GATED)) in page.text
    assert mark in page.text and profile.text in page.text
    assert "210 latents from seed 0" in page.text and ganfix.__version__ in page.text
    assert torch.__version__ in page.text


def test_both_ends_of_the_ranking_are_shown(page: Page, face: nn.Module) -> None:
    scores = ganfix.detect(face, latents_of(range(60), (100, 1, 1)), samples=210)
    order = scores.argsort(descending=True, stable=True).tolist()
    assert page.seeds[:8] == [*order[:4], *order[::-1][:4]]


def test_beside_them_are_seeds_drawn_by_chance(page: Page) -> None:
    drawn = page.seeds[8:]
    assert len(set(drawn)) == 4 and set(drawn) <= set(range(60))
    assert drawn == np.random.RandomState(0).choice(60, 4, replace=False).tolist()


def test_the_page_begins_with_what_came_of_it(page: Page, face: nn.Module) -> None:
    with ganfix.attach(face, GATED) as attachment:
        face(latents_of(range(60), (100, 1, 1)))
        number = attachment.counts[0].corrected
    assert f"of images are corrected ({number} of 60); the others stay as they are" in page.text
    assert page.text.index("of images are corrected") < page.text.index("Correction")


def test_what_the_lr_count_finds_is_called_unusual(page: Page) -> None:
    assert "most and the 4 least unusual" in page.text and "artifact-like" not in page.text
    assert "Unusual is not broken" in page.text


def test_images_are_those_of_the_generator_without_and_with_the_correction(
    page: Page, face: nn.Module
) -> None:
    seeds = page.seeds
    before = shown(uncorrected(face, seeds))
    with ganfix.attach(face, GATED):
        after = shown(uncorrected(face, seeds))
    for seed, plain, corrected in zip(seeds, before, after):
        assert np.abs(page.image(f"Seed {seed} as generated").astype(int) - plain).max() <= 1
        if seed in seeds[:4]:
            found = page.image(f"Seed {seed} corrected")
            assert np.abs(found.astype(int) - corrected).max() <= 1
            assert np.abs(found.astype(int) - plain).max() > 10


def test_images_that_the_gate_leaves_alone_are_counted_as_identical(page: Page) -> None:
    assert "4 changed, 0 identical." in page.text
    assert "Are clean images left alone? 0 changed, 4 identical." in page.text
    identical = sum(map(int, re.findall(r"changed, (\d+) identical", page.text)))
    assert page.text.count("left as is, bit for bit") == identical >= 4
    assert page.html.count('<p class="as-is">left as is</p>') == identical


def test_the_gate_is_shown_with_its_threshold_and_how_many_pass(
    page: Page, face: nn.Module
) -> None:
    z = latents_of(range(60), (100, 1, 1))
    scores = ganfix.detect(face, z, samples=210)
    with ganfix.attach(face, GATED) as attachment:
        gate = attachment.corrections[0].gate
    assert gate
    passing = int((scores > gate.threshold).sum())
    assert f"Its gate lr:70% lets {passing} of the 60 through" in page.text
    assert f"a count above {gate.threshold:,.10g} is corrected" in page.text
    histogram = page.all("svg")[0]["aria-label"]
    assert f"gate lr:70% at {gate.threshold:,.0f}" in histogram


def test_with_labels_in_the_store_the_probe_ranks_and_its_gate_is_on_that_scale(
    face: nn.Module, tmp_path: Path, own_cache: Path
) -> None:
    keep(judged(face))
    page = made(tmp_path / "out", *FACE, "--correct=steer:samples=210", "--num=60", "--top=4")
    generator = Generator.of(face)
    score = SCORES["probe"](generator, Scoring(samples=210))
    scores = score_seeds(generator, score, range(60))
    order = scores.argsort(descending=True).tolist()
    assert page.seeds[:8] == [*order[:4], *order[::-1][:4]]
    assert score.probe
    passing = int((scores > score.probe.threshold(torch.tensor([0.7]))).sum())
    assert f"Its gate probe:70% lets {passing} of the 60 through" in page.text
    assert "ranked by score of the probe" in page.text and "--by=probe" in page.html
    assert all(
        "units of the probe" in each["alt"] for each in page.all("img") if "where" in each["alt"]
    )


def test_without_real_images_no_distance_is_claimed(page: Page) -> None:
    assert "No distance to real images was measured" in page.text
    assert "ganfix evaluate" in page.text and "Fréchet" not in page.text


def test_layers_are_listed_with_their_share_of_low_rate_neurons(
    page: Page, face: nn.Module
) -> None:
    rates = ganfix.profile(face, samples=210).counts["main.5"] / 210
    low, dead = (f"{float((rates <= at).float().mean()):.1%}"[:-1] for at in (0.1, 0))
    assert f"1 8×8 256 {low} % {dead} % yes main.5" in page.text
    assert "3 32×32 64 not measured no main.11" in page.text


def test_its_own_command_makes_the_page_again(page: Page, tmp_path: Path) -> None:
    command = re.search(r"<code>ganfix report \\\n(.+?)</code>", page.html, re.DOTALL)
    assert command
    script = f"printf '%s\\n' {Page(command[1]).html}".replace("&#39;", "'")
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout
    options = [each for each in words.splitlines() if not each.startswith("--out")]
    again = made(tmp_path, *options)
    assert again.all("img") == page.all("img")


def test_a_page_of_a_style_based_generator_with_two_corrections_in_a_row(
    network_pickle: Path, stylegan2: nn.Module, tmp_path: Path
) -> None:
    specs = ("seqabl:samples=200,lowest=30%", "truncation:psi=0.5")
    options = [f"--correct={spec}" for spec in specs]
    host = EXAMPLES / "stylegan2_small"
    network = [f"--network={network_pickle}", f"--host={host}", "--num=12", "--top=2"]
    page = made(tmp_path / "out", *network, *options)
    seed = page.seeds[0]
    with ganfix.attach(stylegan2, *specs):
        (expected,) = shown(uncorrected(stylegan2, [seed]))
    assert np.abs(page.image(f"Seed {seed} corrected").astype(int) - expected).max() <= 1
    assert "There is no gate: the correction goes over every image." in page.text


def test_the_page_of_none_says_that_nothing_changed(tmp_path: Path) -> None:
    page = made(tmp_path, *TINY, "--correct=none", "--samples=200")
    assert "The correction changes nothing" in page.text
    assert not [each for each in page.all("input") if each["type"] == "range"]


def test_a_single_seed_is_a_page_too(tmp_path: Path) -> None:
    page = made(tmp_path, "--network=test_report:tiny", "--num=1", f"--correct={SPEC}")
    assert page.seeds == [0] and "the only one is shown" in page.text


def test_few_seeds_are_never_at_both_ends(tmp_path: Path) -> None:
    page = made(tmp_path, "--network=test_report:tiny", "--num=5", f"--correct={SPEC}")
    assert sorted(page.seeds) == list(range(5))


def test_a_gate_that_counts_otherwise_than_the_ranking_is_not_drawn(tmp_path: Path) -> None:
    page = made(tmp_path, *TINY, f"--correct={SPEC},gate=lr:70%", "--samples=300")
    assert "it goes by another score or profile than this ranking" in page.text
    assert "Its gate" not in page.text and "gate" not in page.all("svg")[0]["aria-label"]


def test_a_correction_by_a_classifier_is_shown_too(tmp_path: Path) -> None:
    prepare(tiny())
    # Few units of so small a generator overlap with a mask that is not the whole image.
    spec = "seqc:samples=200,start=0,stop=1,mode=sample,rows=all,cam=0,gate=artifact:0.5"
    page = made(tmp_path, *TINY, f"--correct={spec}")
    with ganfix.attach(tiny_corrected := tiny(), spec):
        expected = shown(uncorrected(tiny_corrected, page.seeds))
    changed = [each["alt"] for each in page.all("img") if each["alt"].endswith(" corrected")]
    assert changed
    for seed, corrected in zip(page.seeds, expected):
        if f"Seed {seed} corrected" in changed:
            found = page.image(f"Seed {seed} corrected").astype(int)
            assert np.abs(found - corrected).max() <= 1
    assert "Gate artifact:0.5: corrected above 0.5; it goes by another score" in page.text


def test_names_are_escaped(network_pickle: Path, tmp_path: Path) -> None:
    name = """<img src=x onerror=alert(1)>&"quoted'.pkl"""
    shutil.copy(network_pickle, tmp_path / name)
    host = EXAMPLES / "stylegan2_small"
    network = [f"--network={tmp_path / name}", f"--host={host}", "--num=2"]
    page = made(tmp_path / "out", *network, f"--correct={SPEC}")
    assert f"{name}, before and after" in page.text
    assert not [each for each in page.all("img") if each["src"] == "x"]


def test_a_conditional_generator_needs_a_class_and_shows_it(tmp_path: Path) -> None:
    network = ["--network=test_report:conditional", "--num=8", f"--correct={SPEC},class=2"]
    options = ["report", "--device=cpu", f"--out={tmp_path / 'none'}", *network]
    assert "has 3 classes; choose one by --class" in error(run(*options))
    page = made(tmp_path / "out", *network, "--class=2")
    (expected,) = shown(of_class(page.seeds[0], 2))
    found = page.image(f"Seed {page.seeds[0]} as generated")
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert "class 2" in page.text


def of_class(seed: int, class_index: int) -> Tensor:
    c = torch.nn.functional.one_hot(torch.tensor([class_index]), 3).float()
    G = conditional()
    with torch.no_grad():
        return Generator.of(G).adapter.synthesize(G, latents_of([seed], (8,)), c)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of another seed's generator."""
    folder = tmp_path_factory.mktemp("real")
    with torch.no_grad():
        for place, image in enumerate(pictured(dcgan(seed=1)(latents_of(range(40), (8, 1, 1))))):
            image.save(folder / f"{place}.png")
    return folder


def test_with_real_images_the_figures_are_those_of_evaluate(real: Path, tmp_path: Path) -> None:
    how = ["--extractor=prepared:look", "--resamples=10"]
    page = made(tmp_path, *TINY, f"--correct={SPEC}", f"--real={real}", *how)
    found = evaluate(
        tiny(), SPEC, real=real, latents="0-19", extractor="prepared:look", resamples=10
    )
    without_spread = re.sub(r" ± \S+", "", page.text)
    for figure in found.figures:
        assert f"{figure.uncorrected:.4g} {figure.corrected:.4g} {figure.difference:+.4g}" in (
            without_spread
        )
    assert "20 generations (seeds 0-19) against 40 real images" in page.text
    assert "No distance" not in page.text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--correct=bogus"], "--correct bogus: unknown corrector"),
        (["--network=nowhere:generator"], "nowhere"),
        (["--network=nowhere.pkl"], "nowhere.pkl"),
        (["--real=nowhere.zip"], "images nowhere.zip: no such folder or zip"),
        (["--extractor=prepared:look"], "need real images; name them by --real"),
        ([f"--out={__file__}"], "test_report.py: cannot be made"),
        (["--class=3"], "has no classes"),
    ],
)
def test_errors_are_one_line_and_leave_no_page(
    more: list[str], message: str, tmp_path: Path, own_cache: Path
) -> None:
    options = [f"--out={tmp_path / 'out'}", *TINY, f"--correct={SPEC}", "--device=cpu", *more]
    assert message in error(run("report", *options))
    assert not list(tmp_path.rglob("report.html")) and not own_cache.exists()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    options = [f"--out={tmp_path / 'out'}", *TINY, f"--correct={SPEC}"]
    assert "found none" in error(run("report", *options, f"--real={tmp_path / 'real'}"))


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_what_installs_it(
    package: str, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    missing = lambda name: None if name == package else find(name)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", missing)
    message = error(run("report", f"--out={tmp_path / 'out'}", *TINY, f"--correct={SPEC}"))
    assert package in message and "pip install 'ganfix[pictures]'" in message
    assert not (tmp_path / "out").exists() and not own_cache.exists()


def test_a_failed_run_leaves_the_page_of_an_earlier_one(real: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("earlier")
    options = [f"--out={tmp_path}", *TINY, f"--correct={SPEC}", f"--real={real}"]
    assert "found NaN" in error(run("report", *options, "--extractor=test_report:broken"))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "report.html": "earlier"
    }


def test_a_killed_run_leaves_no_page(real: Path, tmp_path: Path) -> None:
    options = [f"--out={tmp_path}", *TINY, f"--correct={SPEC}", f"--real={real}", "--device=cpu"]
    options += ["--extractor=test_evaluate:slow"]
    command = [sys.executable, "-m", "ganfix_plugin", "report", *options]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "looking\n"
        process.kill()
    assert not list(tmp_path.iterdir())


def pair(side: int, seed: int = 0) -> Pair:
    """A pair of noise, the hardest to compress."""
    noise = np.random.RandomState(seed).randint(0, 256, (3, side, side, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in noise]
    return Pair(seed, False, 1.0, *images, np.zeros((8, 8)))


def test_small_images_are_kept_as_they_are() -> None:
    one = pair(64)
    (((shown,),), encoding, _) = encoded([[one]])
    assert encoding.quality is None and shown.before.startswith("data:image/png;")
    pixels = Image.open(io.BytesIO(base64.b64decode(shown.before.partition(",")[2])))
    assert (np.asarray(pixels) == np.asarray(one.before)).all()


def test_large_images_are_compressed_until_they_fit_the_page() -> None:
    groups = [[pair(LARGEST, seed) for seed in range(2)]]
    ((one, _),), roomy, _ = encoded(groups)
    assert roomy.side == LARGEST and one.before.startswith("data:image/webp;")
    (found,), tight, _ = encoded(groups, budget=200_000)
    assert tight.side < LARGEST
    assert sum(len(each.before) + len(each.after) for each in found) < 200_000


def test_without_a_number_of_latents_the_page_says_how_many_it_took(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST", 80)
    monkeypatch.setattr(sweep, "BLOCK", 20)
    monkeypatch.setattr(sweep, "JACCARD", 2)
    page = made(tmp_path / "page", *TINY, "--correct=seqabl:rate=0.3")
    assert "80 latents from seed 0" in page.text
