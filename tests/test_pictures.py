"""Sheets and plots: any number of images or figures, titled, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganfix_plugin import GanfixError
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.palette import difference, heat, overlay
from ganfix_plugin.pictures.sheet import Band, Row, contact, pictured, sheet

WORDS = plots.Words("Title", "note " * 60, "x", "y")


def blank(count: int, colour: str = "red") -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), colour)] * count


@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_a_sheet_of_any_number_of_images_shows_all_of_them(count: int) -> None:
    picture = np.asarray(contact("Title", "note", [blank(count)]))
    shown = (picture == (255, 0, 0)).all(axis=2).sum()
    side = {0: 0, 1: 160, 7: 160, 500: 40}[count]
    assert shown == count * side**2


def test_ten_thousand_images_fit_a_picture_of_bounded_size() -> None:
    picture = contact("Title", "note", [blank(10_000)])
    assert max(picture.size) < 5000


def test_lists_are_shown_below_one_another_with_one_caption() -> None:
    picture = contact("Title", "", [blank(3), blank(3, "blue")], ["1", "2", "3"])
    red, blue = (
        np.argwhere((np.asarray(picture) == colour).all(axis=2))
        for colour in ((255, 0, 0), (0, 0, 255))
    )
    assert red[:, 0].max() < blue[:, 0].min() and set(red[:, 1]) == set(blue[:, 1])


def test_a_long_note_is_wrapped_and_not_cut_off() -> None:
    short, long = (
        sheet("Title", "word " * n, [Band("", (), [Row("", "", blank(4))])]) for n in (3, 90)
    )
    assert long.width == short.width and long.height > short.height + 30


def test_images_become_pixels_as_the_hosts_scripts_round_them() -> None:
    x = torch.tensor([-1.2, -1.0, -0.5, 0.0, 0.3, 1.0]).view(1, 1, 2, 3)
    expected = (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)[0, 0]
    (image,) = pictured(x)
    assert (np.asarray(image) == expected.numpy()[..., None]).all()


def test_equal_images_have_a_black_difference() -> None:
    one, other = blank(1)[0], blank(1, "black")[0]
    assert np.asarray(difference(one, one)).max() <= 4
    assert np.asarray(difference(one, other)).min() > 100


def test_heat_gets_lighter_with_the_value() -> None:
    values = np.linspace(0, 1, 64)[None]
    assert (np.diff(np.asarray(heat(values, 0, 1).convert("L")).astype(int)) >= 0).all()
    constant = np.asarray(heat(np.zeros((4, 4)), 0, 0))
    assert (constant == constant[0, 0]).all()
    assert overlay(blank(1)[0], heat(values, 0, 1)).size == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_a_histogram_of_any_number_of_values_is_drawn(count: int, tmp_path: Path) -> None:
    values = {"one": np.random.RandomState(0).randn(count), "none": np.zeros(0)}
    plots.histogram(tmp_path / "h.png", WORDS, values, {"mark": 0.1})
    assert np.asarray(Image.open(tmp_path / "h.png")).std() > 5


@pytest.mark.parametrize("columns", [0, 1, 6])
def test_a_matrix_is_drawn_with_its_figures(columns: int, tmp_path: Path) -> None:
    row = {str(column): 100.0 * (column + 1) for column in range(columns)}
    plots.matrix(tmp_path / "m.png", WORDS, {"a": row, "b": row}, 100)
    assert Image.open(tmp_path / "m.png").width > 600


def test_a_matrix_is_blue_where_figures_are_better(tmp_path: Path) -> None:
    def bluer(lowest: bool) -> float:
        path = tmp_path / "m.png"
        plots.matrix(path, WORDS, {"a": {"x": 50.0, "y": 60.0}}, 100, lowest)
        red, _, blue = np.asarray(Image.open(path).convert("RGB")).astype(float).mean(axis=(0, 1))
        return float(blue - red)

    assert bluer(lowest=True) > 5 and bluer(lowest=False) < -5


@pytest.mark.parametrize("points", [0, 1, 5])
def test_curves_are_drawn(points: int, tmp_path: Path) -> None:
    curve = {f"{place}%": float(place**2) for place in range(points)}
    plots.lines(tmp_path / "l.png", WORDS, {"seqc": curve}, ("none", 3.0))
    assert np.asarray(Image.open(tmp_path / "l.png")).std() > 5


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GanfixError, match=r"pip install 'ganfix\[pictures\]'"):
        plots.needed()
