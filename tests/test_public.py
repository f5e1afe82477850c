"""What stands at the top of the package: a few functions, found when they are first used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import dcgan, hooks, images
from prepared import EXTRACTOR, SAMPLES, judged
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.pictures.sheet import pictured

pytestmark = pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")

SPEC = "seqabl:lowest=30%,samples=200"


def test_every_public_name_stays_what_it_is_when_all_modules_are_imported() -> None:
    """A folder or file of the same name would take its place."""
    code = (
        "import importlib, pkgutil, ganfix_plugin as g\n"
        "for m in pkgutil.walk_packages(g.__path__, 'ganfix_plugin.'):\n"
        "    if '__main__' not in m.name: importlib.import_module(m.name)\n"
        "assert all(callable(getattr(g, n)) for n in g.__all__ if n != '__version__')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_latents_are_those_that_scripts_draw(G: nn.Module) -> None:
    z = ganfix.latents(G, range(3, 6))
    expected = [np.random.RandomState(seed).randn(z[0].numel()) for seed in range(3, 6)]
    assert np.array_equal(z.flatten(1).numpy(), np.array(expected, dtype=np.float32))
    assert images(G, z).shape[0] == 3
    assert ganfix.latents(dcgan().half(), [1]).dtype == torch.float16


def test_a_sheet_is_a_picture_with_a_row_for_each_argument(pggan: nn.Module) -> None:
    before = images(pggan, ganfix.latents(pggan, range(5)))
    sheet = ganfix.sheet(before, -before, captions=range(5))
    bare = ganfix.sheet(before, -before, names=["as generated", "negative"])
    side = 64
    assert sheet.width > 5 * side and sheet.height > 2 * side
    assert bare.width > sheet.width and bare._repr_png_()
    pixels, (first, *_) = np.asarray(bare), pictured(before)
    place = np.asarray(first.resize((side, side)).convert("RGB"))
    rows = range(pixels.shape[0] - side)
    left = pixels.shape[1]
    assert any(
        np.array_equal(pixels[top : top + side, x : x + side], place)
        for top in rows[:60]
        for x in range(100, left - 4 * side)
    )
    with pytest.raises(GanfixError, match=r"found \[3, 4\], expected images \[N, 1 or 3, H, W\]"):
        ganfix.sheet(torch.zeros(3, 4))


# --- keywords


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda c: c("seqabl", lowest=0.3, layers="4x4+8x8", dead="without"), "layers=4x4+8x8,"),
        (lambda c: c("steer", source="lr", strength=0.5), "strength=50%,"),
        (lambda c: c("seqc", local=True, gate="lr:60%..80%"), "gate=lr:60%..80%"),
        (lambda c: c("truncation", psi=0.5, gate=None), "truncation:psi=0.5"),
    ],
)
def test_keywords_say_what_a_spec_says(made: Callable[[Any], Any], text: str) -> None:
    spec = made(ganfix.correction)
    assert text in str(spec)
    (again,) = ganfix.correctors.bind.parse_specs([str(spec)])
    assert str(again) == str(spec)


def test_keywords_are_taken_wherever_specs_are(face: nn.Module) -> None:
    z = ganfix.latents(face, range(4))
    with ganfix.attach(face, SPEC):
        expected = images(face, z)
    with ganfix.attach(face, ganfix.correction("seqabl", lowest=0.3, samples=200)):
        assert torch.equal(images(face, z), expected)


def test_a_wrong_keyword_is_one_line() -> None:
    with pytest.raises(GanfixError, match="none has no key rate; its keys: gate, strength"):
        ganfix.correction("none", rate=0.3)
    with pytest.raises(GanfixError, match="psi is '2', expected a number from 0 to 1"):
        ganfix.correction("truncation", psi=2)


# --- an attachment that rests


def test_a_disabled_attachment_corrects_nothing_and_comes_back_in_its_place(G: nn.Module) -> None:
    z = ganfix.latents(G, range(6))
    before = images(G, z)
    with ganfix.attach(G, f"{SPEC},gate=lr:20%") as attachment:
        corrected, order = images(G, z), hooks(G)
        handle = next(G.children()).register_forward_hook(lambda *call: None)
        with attachment.disable():
            assert torch.equal(images(G, z), before)
        handle.remove()
        assert torch.equal(images(G, z), corrected) and hooks(G) == order
        assert not torch.equal(corrected, before)
        with attachment.disable():
            attachment.detach()
        assert torch.equal(images(G, z), before)


def test_hooks_that_are_added_while_it_rests_stay(face: nn.Module) -> None:
    with ganfix.attach(face, SPEC) as attachment:
        layer = face.get_submodule(attachment.corrections[0].layers[0].name)
        with attachment.disable():
            handle = layer.register_forward_hook(lambda *call: None)
        assert list(layer._forward_hooks)[-1] == handle.id and len(layer._forward_hooks) == 2
        handle.remove()


# --- what commands do


def test_prepare_evaluate_and_report_do_what_their_commands_do(
    own_cache: Path, tmp_path: Path
) -> None:
    G = dcgan()
    profile, head = ganfix.prepare(
        G, labels=judged(G), extractor=EXTRACTOR, layers="1", samples=SAMPLES
    )
    assert head.classes == ("artifact", "normal") and profile.thresholds.keys()
    real = tmp_path / "real"
    real.mkdir()
    for seed, image in enumerate(pictured(G(ganfix.latents(G, range(30))))):
        image.save(real / f"{seed}.png")
    how: dict[str, Any] = {"real": real, "extractor": EXTRACTOR, "resamples": 0}
    evaluation = ganfix.evaluate(G, SPEC, num=12, **how)
    assert "12 generations, 30 real images" in str(evaluation) and "recall" in str(evaluation)
    report = ganfix.report(G, SPEC, seeds=range(12), top=2, **how)
    assert report._repr_html_().startswith("<iframe srcdoc=")
    path = report.save(tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == report.html
    assert f"{evaluation.figures[0].corrected:.4g}" in report.html
