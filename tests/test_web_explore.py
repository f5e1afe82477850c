"""The server of `ganfix explore`, as a process of its own and over real HTTP."""

from __future__ import annotations

import io
import json
import shlex
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from generators import ProGANShaped, dcgan
from PIL import Image
from prepared import error, run, uncorrected
from served import NETWORK, Client, Served, served, start
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_spec, parse_specs
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import ARTIFACT, NORMAL, read
from ganfix_plugin.web.answers import KEPT, REJECTED
from ganfix_plugin.web.controls import sliders
from ganfix_plugin.web.start import _ready
from ganfix_plugin.web.studio import Shot, Studio

NUM = 40
STEER, SEQABL = "steer:samples=200,gate=off,strength=50%", "seqabl:samples=200,lowest=60%"
ARGUMENTS = (f"--num={NUM}", "--samples=200", f"--correct={STEER}", f"--correct={SEQABL}")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explore") / "answers.sqlite"


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Served]:
    with served("explore", *ARGUMENTS, f"--answers={file}") as found:
        yield found


@pytest.fixture(scope="module")
def ann(server: Served) -> Client:
    return server.client("ann")


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)), dtype=int)


def image(client: Client, path: str, **values: Any) -> np.ndarray:
    reply = client.get(f"{path}?{urlencode(values)}")
    assert reply.status == 200, reply.body
    return pixels(reply.body)


def of(x: torch.Tensor) -> np.ndarray:
    """The pixels of one image [3, H, W], as hosts save them."""
    return (x.permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).byte().numpy().astype(int)


def corrected(spec: str, seed: int) -> np.ndarray:
    G = dcgan()
    with torch.no_grad(), ganfix.attach(G, spec):
        return of(G(latents_of([seed], (8, 1, 1)))[0])


def ranked(client: Client, **values: Any) -> list[int]:
    """The order, once all are scored."""
    for _ in range(100):
        order = client.get(f"order?{urlencode(values)}").json
        assert not order["failed"]
        if order["done"] == order["total"] == NUM:
            return order["seeds"]
        time.sleep(0.1)
    raise AssertionError(order)


def kept_scores(file: Path) -> int:
    with sqlite3.connect(file) as db:
        (count,) = db.execute("SELECT COUNT(*) FROM scores").fetchone()
    return int(count)


@pytest.mark.slow
def test_seeds_are_ranked_from_either_end_and_dealt_at_random(ann: Client, file: Path) -> None:
    high = ranked(ann, by="lr")
    with sqlite3.connect(file) as db:
        query = "SELECT seed, value FROM scores WHERE score LIKE 'lr:%'"
        counts = dict(db.execute(query))
    assert high == sorted(range(NUM), key=lambda seed: (-counts[seed], seed))
    assert ranked(ann, by="lr", end="low") == high[::-1]
    shuffled = ranked(ann, by="lr", end="random")
    assert sorted(shuffled) == list(range(NUM)) and shuffled not in (high, list(range(NUM)))


@pytest.mark.slow
def test_an_image_has_the_pixels_of_the_hosts_own_script_before_and_after(ann: Client) -> None:
    assert np.array_equal(image(ann, "images/7.png"), of(uncorrected(dcgan(), [7])[0]))
    for number, spec in enumerate((STEER, SEQABL)):
        assert np.array_equal(image(ann, "images/7.png", c=number), corrected(spec, 7))


@pytest.mark.slow
def test_numbers_of_a_correction_can_be_set_otherwise(ann: Client) -> None:
    assert "strength" in [x["key"] for x in ann.get("state").json["corrections"][0]["options"]]
    stronger = image(ann, "images/7.png", c=0, **{"o.strength": "100%"})
    assert np.array_equal(stronger, corrected("steer:samples=200,gate=off", 7))
    none = image(ann, "images/7.png", c=0, **{"o.strength": "0%"})
    assert np.array_equal(none, image(ann, "images/7.png"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"c": 2}, "expected 0 to 1"),
        ({"c": "-1"}, "expected 0 to 1"),
        ({"c": 0, "o.profile": "/etc/passwd"}, "no number of steer"),
        ({"c": 0, "o.extractor": "os:system"}, "no number of steer"),
        ({"c": 0, "o.strength": "150%"}, "a share from 0% to 100%"),
        ({"c": 0, "o.steps": "9" * 30}, "no number of steer"),
    ],
)
def test_a_request_can_set_nothing_else(ann: Client, options: dict[str, Any], said: str) -> None:
    reply = ann.get(f"images/7.png?{urlencode(options)}")
    assert reply.status == 400 and said in reply.json["error"]


@pytest.mark.slow
def test_what_changed_is_said_in_numbers_and_shown(ann: Client) -> None:
    before, after = image(ann, "images/7.png"), image(ann, "images/7.png", c=1)
    told = ann.get("seeds/7?c=1").json
    assert told["change"] == pytest.approx(np.abs(before - after).mean())
    assert ann.get("seeds/7?c=0&o.strength=0%25").json["change"] == 0
    assert image(ann, "images/7.png", c=1, view="change").max() > 0
    same = image(ann, "images/7.png", c=0, view="change", **{"o.strength": "0%"})
    assert np.array_equal(np.unique(same.reshape(-1, 3), axis=0), [[0, 0, 4]])
    assert image(ann, "images/7.png", view="heat", by="lr").shape == (16, 16, 3)


@pytest.mark.slow
def test_scores_say_where_in_the_population_any_seed_stands(ann: Client) -> None:
    order = ranked(ann, by="lr")
    first = {row["title"]: row for row in ann.get(f"seeds/{order[0]}").json["scores"]}
    last = {row["title"]: row for row in ann.get(f"seeds/{order[-1]}").json["scores"]}
    assert first["LR count"]["percentile"] > 90 > 10 > last["LR count"]["percentile"]
    beyond = {row["title"]: row for row in ann.get(f"seeds/{10**6}").json["scores"]}
    assert 0 <= beyond["LR count"]["percentile"] <= 100
    assert ann.get(f"seeds/{2**32}").status == 404


@pytest.mark.slow
def test_a_path_goes_over_the_sphere_from_image_to_image(ann: Client) -> None:
    path = {"seeds": "7,9,11", "per": 4}
    for frame, seed in ((0, 7), (4, 9), (8, 11)):
        assert np.array_equal(
            image(ann, f"path/{frame}.png", **path), image(ann, f"images/{seed}.png")
        )
    a, b = latents_of([9], (8, 1, 1)), latents_of([11], (8, 1, 1))
    angle = np.arccos(float((a * b).sum() / (a.norm() * b.norm())))
    t = 0.25
    way = np.sin((1 - t) * angle) * a / a.norm() + np.sin(t * angle) * b / b.norm()
    z = way / np.sin(angle) * ((1 - t) * a.norm() + t * b.norm())
    with torch.no_grad():
        expected = of(dcgan()(z)[0])
    assert np.abs(image(ann, "path/5.png", **path) - expected).max() <= 1
    assert ann.get(f"path/9.png?{urlencode(path)}").status == 400
    assert ann.get("path/0.png?seeds=7").status == 400


@pytest.mark.slow
@pytest.mark.parametrize("by", ["lr", "probe"])  # whose probe has neither labels nor discriminator
def test_what_the_lr_count_finds_or_teaches_is_called_unusual(ann: Client, by: str) -> None:
    ranked(ann, by=by)
    assert ann.get(f"order?by={by}").json["word"] == "unusual"


@pytest.mark.slow
def test_the_latents_of_a_path_can_be_taken_along(ann: Client) -> None:
    path = {"seeds": "7,9,11", "per": 4}
    for more, specs in (({}, ()), ({"c": 0}, (STEER,))):
        reply = ann.get(f"path/w.npz?{urlencode(path | more)}")
        with np.load(io.BytesIO(reply.body)) as arrays:
            z = torch.from_numpy(arrays["z"])
            assert arrays["seeds"].tolist() == [7, 9, 11]
        assert torch.equal(z[::4], ganfix.corrected_latents(dcgan(), [7, 9, 11], *specs))
        for frame in (1, 6):
            with torch.no_grad():
                expected = of(dcgan()(z[frame : frame + 1])[0])
            assert np.array_equal(image(ann, f"path/{frame}.png", **path, **more), expected)
    refused = ann.get(f"path/w.npz?{urlencode(path | {'c': 1})}")
    assert refused.status == 409 and "feature maps" in refused.json["error"]


@pytest.mark.slow
def test_jumps_are_the_changes_from_a_frame_to_the_next(ann: Client) -> None:
    path = {"seeds": "7,9", "per": 4, "c": 1}
    jump = ann.get(f"path/2?{urlencode(path)}").json
    after = [image(ann, f"path/{frame}.png", **path) for frame in (1, 2)]
    del path["c"]
    before = [image(ann, f"path/{frame}.png", **path) for frame in (1, 2)]
    assert jump["before"] == pytest.approx(np.abs(before[0] - before[1]).mean())
    assert jump["after"] == pytest.approx(np.abs(after[0] - after[1]).mean())


def choose(client: Client, *choices: tuple[int, str, str]) -> int:
    body = [{"seed": seed, "choice": choice, "note": note} for seed, choice, note in choices]
    return client.ask("POST", "choices", body).status


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        [{"seed": 1, "choice": "perhaps", "note": ""}],
        [{"seed": -1, "choice": KEPT, "note": ""}],
        [{"seed": 1, "choice": KEPT, "note": "x" * 501}],
        [{"seed": 1, "choice": KEPT}],
    ],
)
def test_what_is_no_choice_is_not_taken(ann: Client, body: Any) -> None:
    assert ann.ask("POST", "choices", body).status == 400


@pytest.mark.slow
def test_choices_outlive_a_kill_and_are_labels_for_who_wants_them(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    server = start("explore", *ARGUMENTS, f"--answers={file}")
    try:
        ranked(server.client("ann"), by="lr")
        while not kept_scores(file):
            time.sleep(0.05)
        assert choose(server.client("ann"), (3, KEPT, ""), (10**6, REJECTED, "two heads")) == 200
    finally:
        server.kill()
    with sqlite3.connect(file) as db:  # another value than would be computed again
        db.execute("INSERT OR REPLACE INTO scores SELECT score, 5, 1e6 FROM scores LIMIT 1")
    with served("explore", *ARGUMENTS, f"--answers={file}") as again:
        client = again.client("ann")
        assert client.get("state").json["choices"] == {
            "3": [KEPT, ""],
            str(10**6): [REJECTED, "two heads"],
        }
        assert again.client("ben").get("state").json["choices"] == {}
        assert ranked(client, by="lr")[0] == 5, "scores that were kept are not computed again"
    out = tmp_path / "labels.csv"
    assert run("labels", "export", file, "--out", out).exit_code == 1
    assert run("labels", "export", file, "--choices", "--out", out).exit_code == 0
    assert [(x.sample, x.label) for x in read(out).items] == [(3, NORMAL), (10**6, ARTIFACT)]


@pytest.mark.slow
def test_what_was_kept_can_be_taken_along_and_made_again(
    server: Served, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleo = server.client("ben")
    assert cleo.get("take").json["count"] == 0
    assert cleo.get("take/w.npz").status == cleo.get("take/images.zip").status == 409
    choose(cleo, (7, KEPT, ""), (8, KEPT, ""), (12, KEPT, ""), (13, REJECTED, ""))
    taken = cleo.get("take?c=0").json
    assert taken["seeds"] == "7-8,12" and cleo.get("take/seeds.txt").body == b"7-8,12\n"

    archive = zipfile.ZipFile(io.BytesIO(cleo.get("take/images.zip?c=0").body))
    names = ["seed0007.png", "seed0008.png", "seed0012.png", "ganfix.json"]
    assert archive.namelist() == names
    for name, seed in zip(names, (7, 8, 12)):
        assert np.array_equal(pixels(archive.read(name)), corrected(STEER, seed))
    (record,) = json.loads(archive.read("ganfix.json"))
    assert record["corrected_by_seed"] == {"7": True, "8": True, "12": True}

    with np.load(io.BytesIO(cleo.get("take/w.npz?c=0").body)) as arrays:
        expected = ganfix.corrected_latents(dcgan(), [7, 8, 12], STEER)
        assert np.array_equal(arrays["z"], expected.numpy())
    refused = cleo.get("take/w.npz?c=1")
    assert refused.status == 409 and "feature maps" in refused.json["error"]

    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(taken["commands"][0]["command"])
    assert program == "ganfix" and run(*words).exit_code == 0
    for name in names:
        assert (tmp_path / "images" / name).read_bytes() == archive.read(name)


def test_ws_go_straight_from_image_to_image(stylegan2: nn.Module) -> None:
    shot = Shot((3, 5), frame=1, per=4)
    frame = pixels(Studio(Generator.of(stylegan2)).draw(shot))
    with torch.no_grad():
        ws = stylegan2.mapping(latents_of([3, 5], (stylegan2.z_dim,)), None)
        images = stylegan2.synthesis(ws[:1].lerp(ws[1:], 0.25), noise_mode="const")
    assert np.array_equal(frame, of(images[0].expand(3, -1, -1)))


def test_what_a_correction_reads_is_read_once_for_all_its_strengths(stylegan2: nn.Module) -> None:
    studio = Studio(Generator.of(stylegan2))
    whole, weak = (
        studio.correction(parse_spec(f"seqabl:samples=50,lowest=30%,strength={strength}"))
        for strength in ("100%", "30%")
    )
    assert weak.edits is whole.edits and (whole.strength, weak.strength) == (1, 0.3)
    with torch.no_grad(), ganfix.attach(stylegan2, weak.text) as attachment:
        images = stylegan2(latents_of([3], (stylegan2.z_dim,)), None, noise_mode="const")
    assert attachment.corrections[0].text == weak.text
    frame = Shot((3,), specs=(parse_spec(weak.text),))
    assert np.array_equal(pixels(studio.draw(frame)), of(images[0].expand(3, -1, -1)))


def test_a_page_gets_the_numbers_of_a_correction_and_nothing_else() -> None:
    controls = {control["key"]: control for control in sliders(parse_spec("steer:gate=probe:80%"))}
    assert controls["strength"]["kind"] == "share" and controls["strength"]["value"] == "100%"
    assert controls["gate"] | {"help": ""} == {
        "key": "gate",
        "help": "",
        "kind": "share",
        "low": 0,
        "high": 1,
        "prefix": "probe:",
        "value": "80%",
    }
    assert not {"profile", "labels", "extractor", "samples", "class"} & controls.keys()


def test_what_would_do_nothing_is_an_error(tmp_path: Path) -> None:
    where = (*NETWORK, f"--answers={tmp_path / 'a.sqlite'}", "--port=0")
    assert "needs real images" in error(run("explore", *where, "--extractor=resnet18"))
    assert "no key strenght" in error(run("explore", *where, "--correct=steer:strenght=1"))


def test_images_are_rendered_without_a_page(tmp_path: Path) -> None:
    out = tmp_path / "images"
    network = (*NETWORK, "--seeds=5,7", f"--out={out}")
    assert run("render", *network).exit_code == 0
    assert np.array_equal(
        pixels((out / "seed0007.png").read_bytes()), of(uncorrected(dcgan(), [7])[0])
    )
    (record,) = json.loads((out / "ganfix.json").read_text())
    assert record["correct"] == "" and record["corrected_by_seed"] == {"5": False, "7": False}
    assert "class=3: Sequential has no classes" in error(run("render", *network, "--class=3"))


def test_a_correction_that_does_not_suit_the_generator_is_left_out_unless_it_was_asked_for() -> (
    None
):
    studio = Studio(Generator.of(ProGANShaped()))  # it normalises its latent
    specs = parse_specs(["truncation", "none"])
    assert list(_ready(studio, specs, optional=True)) == specs[1:]
    with pytest.raises(GanfixError, match="nothing to pull towards"):
        list(_ready(studio, specs, optional=False))
