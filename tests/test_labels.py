"""Label files: reading, writing, merging, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import error, run

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import (
    ARTIFACT,
    NORMAL,
    Label,
    Labels,
    keep,
    merge,
    read,
    stored_path,
    write,
)

MARK, OTHER = "a" * 64, "b" * 64
LABELS = Labels(
    MARK,
    (
        Label(3, ARTIFACT, "ann", "face"),
        Label(5, NORMAL, "ann"),
        Label(3, NORMAL, "bob", 'says "fine", then\nshrugs'),
        Label(2**32 - 1, ARTIFACT, "Zoë", "Struktur: Türen"),
    ),
)
formats = pytest.mark.parametrize("name", ["labels.csv", "labels.json"])


def labels(*items: tuple[int, str, str]) -> Labels:
    return Labels(MARK, tuple(Label(*item) for item in items))


@formats
def test_what_was_written_is_read_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / name
    write(LABELS, path)
    assert read(path) == LABELS


def test_the_columns_are_generator_seed_label_rater_criterion(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write(LABELS, path)
    with path.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first == {
        "generator": MARK,
        "seed": "3",
        "label": "artifact",
        "rater": "ann",
        "criterion": "face",
    }
    write(LABELS, tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text())[0] == {**first, "seed": 3}


LATENT = Label(None, NORMAL, "ann", latent=(0.1, -2.5, 1e-8))


@formats
def test_a_label_may_name_a_latent_for_a_seed(name: str, tmp_path: Path) -> None:
    both = Labels(MARK, (*LABELS.items, LATENT))
    write(both, tmp_path / name)
    assert read(tmp_path / name) == both
    assert merge([both]).samples(NORMAL) == [5, LATENT.latent]


def test_latents_are_taken_as_they_are_and_seeds_drawn() -> None:
    assert LATENT.latent
    latents = latents_of([7, LATENT.latent], (3,))
    drawn = np.random.RandomState(7).randn(1, 3)[0].astype(np.float32)
    assert np.array_equal(latents.numpy(), [drawn, np.float32(LATENT.latent)])


def test_a_latent_of_another_width_is_refused() -> None:
    with pytest.raises(GanfixError, match="a latent of 3 values, expected 8"):
        latents_of([LATENT.sample], (8,))


def test_rater_and_criterion_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"label,generator,seed\nartifact,{MARK},7\n")
    assert read(path) == labels((7, ARTIFACT, ""))


def test_what_a_spreadsheet_adds_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"\ufeffgenerator,seed,label\r\n{MARK},7,artifact\r\n".encode())
    assert read(path) == labels((7, ARTIFACT, ""))


@formats
def test_a_file_is_written_whole_or_not_at_all(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    write(LABELS, path)

    def full_disk(old: Path, new: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(GanfixError, match=f"labels .*{name}: cannot be written: No space left"):
        write(labels((1, NORMAL, "ann")), path)
    assert read(path) == LABELS


@formats
def test_nothing_is_left_beside_the_file(name: str, tmp_path: Path) -> None:
    write(LABELS, tmp_path / name)
    write(LABELS, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanfixError, match="cannot be written"):
        write(LABELS, tmp_path / "file" / "labels.csv")


HEAD = f"generator,seed,label\n{MARK},1,artifact\n"
MALFORMED = {
    "a word for a seed": (f"{HEAD}{MARK},x,normal\n", "row 3: seed is 'x', expected a whole"),
    "no seed": (f"{HEAD}{MARK},,normal\n", "row 3: seed is ''"),
    "a negative seed": (
        f"{HEAD}{MARK},-1,normal\n",
        "row 3: seed is '-1', expected a whole number",
    ),
    "a seed beyond numpy's": (f"{HEAD}{MARK},{2**32},normal\n", "row 3: seed is 4294967296"),
    "a fraction for a seed": (f"{HEAD}{MARK},1.5,normal\n", "row 3: seed is '1.5'"),
    "a seed and a latent": (
        f"generator,seed,label,latent\n{MARK},1,normal,0.5 1\n",
        "row 2: seed is 1 beside a latent",
    ),
    "words for a latent": (
        f"generator,label,latent\n{MARK},normal,x\n",
        "row 2: latent is no list of numbers",
    ),
    "a latent with NaN": (
        f"generator,label,latent\n{MARK},normal,nan\n",
        "row 2: latent is empty or not finite",
    ),
    "an unknown label": (f"{HEAD}{MARK},2,ugly\n", "row 3: label is 'ugly', expected artifact or"),
    "a row that ends early": (f"{HEAD}{MARK},2\n", "row 3: label is None"),
    "no column label": (f"generator,seed\n{MARK},1\n", "row 2: column 'label' is missing"),
    "no column generator": ("seed,label\n1,artifact\n", "row 2: column 'generator' is missing"),
    "no rows": ("generator,seed,label\n", "no labels, expected labels of one generator"),
    "nothing": ("", "no labels"),
    "two generators": (f"{HEAD}{OTHER},2,normal\n", "2 generators, expected labels of one"),
    "null bytes": ("generator,seed,label\n\0\n", "(, row 2: |line contains NUL)"),  # Python 3.10
}
MALFORMED_JSON = {
    "no JSON": ("[{", "no label file"),
    "no list": ('{"seed": 1}', "no label file .expected a list"),
    "no objects": ("[1]", "row 1: found 1, expected an object"),
    "no label": (json.dumps([{"generator": MARK, "seed": 1}]), "row 1: column 'label' is missing"),
    "a fraction for a seed": (
        json.dumps([{"generator": MARK, "seed": 1.5, "label": "normal"}]),
        "row 1: seed is 1.5",
    ),
    "null for a seed": (
        json.dumps([{"generator": MARK, "seed": None, "label": "normal"}]),
        "row 1: seed is None",
    ),
    "a list for a label": (
        json.dumps([{"generator": MARK, "seed": 1, "label": []}]),
        r"row 1: label is \[\]",
    ),
    "null for a generator": (
        json.dumps([{"generator": None, "seed": 1, "label": "normal"}]),
        "row 1: generator is None",
    ),
    "a number for a rater": (
        json.dumps([{"generator": MARK, "seed": 1, "label": "normal", "rater": 5}]),
        "row 1: rater is 5",
    ),
    "an empty list": ("[]", "no labels"),
}


@pytest.mark.parametrize(("text", "says"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_csv_is_one_error_with_file_and_row(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(GanfixError, match=f"^labels {path}.*{says}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "says"), MALFORMED_JSON.values(), ids=MALFORMED_JSON)
def test_a_malformed_json_is_one_error_with_file_and_row(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(GanfixError, match=f"^labels {path}.*{says}"):
        read(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GanfixError, match="no label file"):
        read(path)


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match=r"labels .*gone.csv: no such file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(GanfixError, match=f"labels {tmp_path}: "):
        read(tmp_path)


def test_a_seed_belongs_to_a_kind_by_majority() -> None:
    merged = labels(
        (1, ARTIFACT, "a"),
        (1, ARTIFACT, "b"),
        (1, NORMAL, "c"),
        (0, ARTIFACT, "a"),
        (2, NORMAL, ""),
    )
    assert merged.seeds(ARTIFACT) == [0, 1]
    assert merged.seeds(NORMAL) == [2]


def test_a_tie_belongs_to_neither() -> None:
    merged = labels((1, ARTIFACT, "a"), (1, NORMAL, "b"))
    assert merged.seeds(ARTIFACT) == merged.seeds(NORMAL) == []


def test_merging_keeps_every_raters_word() -> None:
    merged = merge([labels((1, ARTIFACT, "a")), labels((1, NORMAL, "b"), (0, NORMAL, "b"))])
    assert merged == labels((0, NORMAL, "b"), (1, ARTIFACT, "a"), (1, NORMAL, "b"))


def test_a_raters_later_word_replaces_the_earlier_one() -> None:
    first, second = labels((1, ARTIFACT, "a"), (2, NORMAL, "a")), labels((1, NORMAL, "a"))
    assert merge([first, second]).seeds(NORMAL) == [1, 2]
    assert merge([second, first]).seeds(ARTIFACT) == [1]


def test_merging_a_file_with_itself_changes_nothing() -> None:
    once = labels((1, ARTIFACT, "a"), (2, NORMAL, "a"))
    assert merge([once, once]) == once


def test_labels_of_two_generators_do_not_merge() -> None:
    with pytest.raises(GanfixError, match="found 2 generators, expected files of one"):
        merge([LABELS, Labels(OTHER, ())])
    with pytest.raises(GanfixError, match="found 0 generators"):
        merge([])


def test_labels_of_another_generator_are_refused() -> None:
    assert LABELS.check(MARK) is LABELS
    with pytest.raises(GanfixError, match="another generator .fingerprint a{16}, this one has b"):
        LABELS.check(OTHER)


def test_latents_are_those_of_the_hosts_scripts() -> None:
    latents = latents_of([4, 0], (8, 1, 1))
    assert latents.shape == (2, 8, 1, 1) and latents.dtype == torch.float32
    for row, seed in zip(latents, (4, 0)):
        drawn = np.random.RandomState(seed).randn(1, 8)
        assert np.array_equal(row.flatten().numpy(), drawn[0].astype(np.float32))


def test_labels_check_counts_merges_and_converts(tmp_path: Path) -> None:
    one, two, out = tmp_path / "1.csv", tmp_path / "2.json", tmp_path / "out.json"
    write(labels((1, ARTIFACT, "a"), (2, ARTIFACT, "a"), (3, NORMAL, "a")), one)
    write(labels((1, NORMAL, "b"), (3, NORMAL, "b")), two)
    shown = run("labels", "check", one, two, f"--out={out}")
    assert shown.exit_code == 0, shown.output
    assert f"generator {MARK[:16]}, 5 labels by 2 raters" in shown.output
    assert "artifact: 1 images by majority\nnormal: 1 images by majority" in shown.output
    assert read(out) == merge([read(one), read(two)])
    assert json.loads(run("labels", "check", one, two, "--json").stdout) == {
        "generator": MARK,
        "labels": 5,
        "raters": 2,
        "images": {"artifact": 1, "normal": 1},
    }


def test_labels_check_fails_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    one, two, out = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "out.csv"
    write(LABELS, one)
    write(Labels(OTHER, LABELS.items), two)
    assert "2 generators" in error(run("labels", "check", one, two, f"--out={out}"))
    assert not out.exists()


def test_the_store_keeps_what_people_said_and_their_last_word(own_cache: Path) -> None:
    by_rule = Label(9, ARTIFACT, "lr-count")
    keep(Labels("abc", (by_rule,)))
    assert not stored_path("abc").exists()
    keep(Labels("abc", (Label(1, ARTIFACT, "ann"), by_rule)))
    keep(Labels("abc", (Label(1, NORMAL, "ann"), Label(2, ARTIFACT, "ben"))))
    kept = read(stored_path("abc"))
    assert kept.items == (Label(1, NORMAL, "ann"), Label(2, ARTIFACT, "ben"))
    assert kept.generator == "abc"
