"""Damaged files of every kind that ganfix reads: each is taken, or refused in one line.

    python tests/fuzz_files.py --cases 3000 --seed 0

A case damages a whole file, byte by byte or in what it means (a number in its JSON, the shape of a
tensor, a cell of a table), and uses it as users do.
"""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from fuzzing import DEEP, command, damaged_bytes, damaged_value
from generators import dcgan, latents
from PIL import Image
from prepared import judged, prepare
from torch import Tensor

from ganfix_plugin import attach, exports, labels
from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.detector import Detector
from ganfix_plugin.features.images import read_images
from ganfix_plugin.files import save_sealed
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts import record
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.rates import import_rates
from ganfix_plugin.profiling.store import classifier_path, profile_path
from ganfix_plugin.web.answers import Answer, Answers
from ganfix_plugin.web.criteria import TEMPLATES, read_criteria

Use = Callable[[Path], object]
Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Kind:
    """A kind of file: its ending, a whole one, further ways to damage it, and uses of it."""

    name: str
    ending: str
    content: bytes
    damages: tuple[Damage, ...]
    uses: tuple[Use, ...]


# --- damage of what a file means


def damaged_tensors(content: bytes, chance: random.Random) -> bytes:
    """A safetensors file with other JSON in its metadata, or with a changed tensor."""
    tensors = safetensors.torch.load(content)
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = metadata.get("__metadata__") or {}
    if metadata and chance.random() < 0.6:
        key = chance.choice(list(metadata))
        text = json.dumps(damaged_value(json.loads(metadata[key]), chance))
        metadata[key] = chance.choice([text, text, text, text, DEEP, text[:-3]])
    else:
        name = chance.choice(list(tensors))
        tensors |= _damaged_tensor(name, tensors.pop(name), chance)
    return safetensors.torch.save(tensors, metadata)


def _damaged_tensor(name: str, x: Tensor, chance: random.Random) -> dict[str, Tensor]:
    ways: list[Callable[[], dict[str, Tensor]]] = [
        dict,
        lambda: {f"{name}x": x},
        lambda: {name: x.flatten()[:-1].clone()},
        lambda: {name: x[None]},
        lambda: {name: x.new_zeros(0)},
        lambda: {name: x.new_zeros(3, 2)},
        lambda: {name: x.flatten()},
        lambda: {name: x.to(chance.choice([torch.bool, torch.float16, torch.int64, torch.uint8]))},
        lambda: {name: torch.full_like(x.float(), float("nan"))},
        lambda: {name: torch.full_like(x, 2**30 if x.dtype is not torch.uint8 else 255)},
        lambda: {name: -x.to(torch.float64) - 1},
    ]
    return chance.choice(ways)()


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """A JSON file with a strange value somewhere."""
    text = json.dumps(damaged_value(json.loads(content), chance))
    return chance.choice([text, text, text, text, DEEP]).encode()


def damaged_cell(content: bytes, chance: random.Random) -> bytes:
    """A table with another cell, one too many, or one too few."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    row = chance.choice([rows[0], *rows])
    place = chance.randrange(len(row))
    strange = ["", "-1", "nan", "9" * 30, "1.5", "é", '"', "x" * 200_000, "\0", "artifact", "²"]
    row[place : place + chance.choice([0, 1, 1, 1])] = chance.choice([[], [chance.choice(strange)]])
    return "\n".join(map(",".join, rows)).encode()


def damaged_array(content: bytes, chance: random.Random) -> bytes:
    """Another array, of numbers or not, in the place of one."""
    array = np.load(io.BytesIO(content))
    with np.errstate(all="ignore"):
        ways: list[Callable[[], Any]] = [
            lambda: array.astype(chance.choice(["f2", "i4", "c8", "U5", "?", "f8", ">f4", "u8"])),
            lambda: array[..., None],
            lambda: array[:0],
            lambda: array.ravel()[:-1],
            lambda: array * np.nan,
            lambda: array * 1e38,
            lambda: -array,
            lambda: np.array(3.0),
            lambda: np.array([None, {}], dtype=object),
            lambda: np.zeros(3, dtype=[("z", "f4")]),
            lambda: np.array(["2020-01-01"], dtype="M8[D]"),
        ]
        return _npy(chance.choice(ways)())


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def damaged_header(content: bytes, chance: random.Random) -> bytes:
    """An array whose header promises something else."""
    strange = [
        b"(99999999999999, 3)",
        b"(-1,)",
        b"None",
        b"(4, " + b"(" * 500,
        b"()",
        b"(2**70,)",
        b"(10000000000000000000000,)",
    ]
    start, end = content.index(b"'shape': ") + 9, content.index(b"), }") + 1
    header = content[10 : content.index(b"\n")]
    header = header[: start - 10] + chance.choice(strange) + header[end - 10 :]
    return b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"


# --- the files


class Workshop:
    """A generator, a folder, and whole files of every kind that belong to the generator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.G = dcgan()
        self.generator = Generator.of(self.G)
        self.z = latents(self.G, 2)

    def render(self, *specs: str) -> None:
        """Two images, corrected; errors as of `attach`."""
        with attach(self.G, *specs), torch.no_grad():
            self.G(self.z)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind."""
        *_, path = prepare(self.G)
        fitted = "steer:from=lr,samples=200"
        for spec in ("seqabl:samples=200,gate=lr:70%", fitted, "boundary:from=lr,samples=200"):
            self.render(spec)
        profile = path.read_bytes()
        head = classifier_path(self.generator.fingerprint).read_bytes()
        assert profile and head
        bundle = self.folder / "whole.safetensors"
        exports.export(self.G, "seqabl:samples=200,gate=lr:70%", fitted, out=bundle)
        z = latents(self.G, 4).numpy()
        made = judged(self.G)
        tables = {}
        for ending in (".csv", ".json"):
            labels.write(made, file := self.folder / f"whole{ending}")
            tables[ending] = file.read_bytes()
        latent = labels.Label(None, "artifact", "ann", "", tuple(z[0].ravel().tolist()))
        labels.write(labels.Labels(made.generator, (latent,)), file)
        layer = self.generator.layers[0]
        rates = np.full(layer.channels * layer.resolution[0] * layer.resolution[1], 0.5, "f4")
        runs = [{"version": "0.1.0", "corrections": [{"correct": "seqabl", "samples": 2}]}]
        npz = io.BytesIO()
        np.savez(npz, z=z)
        one = safetensors.torch.save({"z": torch.from_numpy(z)})
        sums = self.folder / "whole.measuring"
        save_sealed(sums, {"rows": torch.ones(3, 4), "batches": torch.tensor(3)})
        criteria = (TEMPLATES / "ffhq.txt").read_bytes()
        record_of_runs = json.dumps(runs).encode()
        tensors, array = (damaged_tensors,) * 2, (damaged_array, damaged_header)
        direction = _npy(z[0].reshape(1, -1))
        return (
            Kind("profile", ".safetensors", profile, tensors, self.of_profile),
            Kind("bundle", ".safetensors", bundle.read_bytes(), tensors, (self.bundle,)),
            Kind("stored profile", ".safetensors", profile, tensors, (self.stored_profile,)),
            Kind("classifier", ".safetensors", head, tensors, self.of_classifier),
            Kind("sums", ".measuring", sums.read_bytes(), (), (self.resumed,)),
            Kind("labels", ".csv", tables[".csv"], (damaged_cell,) * 2, self.of_labels),
            Kind("labels", ".json", tables[".json"], (damaged_json,) * 2, self.of_labels),
            Kind("latent labels", ".json", file.read_bytes(), (damaged_json,), self.of_labels),
            Kind("latents", ".npy", _npy(z), array, (self.latents,)),
            Kind("latents", ".npz", npz.getvalue(), (), (self.latents,)),
            Kind("latents", ".safetensors", one, tensors, (self.latents,)),
            Kind("ranking", ".csv", b"seed\n3\n1\n", (damaged_cell,), (self.latents,)),
            Kind("rates", ".npy", _npy(rates), array, (self.rates,)),
            Kind("direction", ".npy", direction, array, (self.direction,)),
            Kind("answers", ".sqlite", self.answers, (), (self.answered,)),
            Kind("answers in use", ".sqlite", self.answers, (), (self.answered_meanwhile,)),
            Kind("record", ".json", record_of_runs, (damaged_json,), (self.recorded,)),
            Kind("picture", ".png", _png(), (), (self.picture,)),
            Kind("pictures", ".zip", _zip(), (), (self.pictures,)),
            Kind("criteria", ".txt", criteria, (), (lambda file: read_criteria(str(file)),)),
            Kind("detector", ".pt", _detector(), (), (lambda file: Detector.named(str(file)),)),
            Kind("pickle", ".pkl", _pickle(), (), (exports.contents,)),
        )

    @property
    def of_profile(self) -> tuple[Use, ...]:
        """Corrections by a profile of the user's."""
        specs = ("seqabl:", "seqabl:gate=lr:70%,", "steer:from=lr,", "units:", "seqc:mode=global,")
        return tuple(
            lambda file, spec=spec: self.render(f"{spec}profile={file}")  # type: ignore[misc]
            for spec in specs
        )

    def bundle(self, file: Path) -> None:
        """`--correct FILE`."""
        self.render(str(file))

    def stored_profile(self, file: Path) -> None:
        """In the store, in the place of the one that is there."""
        path = profile_path(self.generator, Settings(200))
        whole = path.read_bytes()
        try:
            os.replace(file, path)
            self.render("seqabl:samples=200,gate=lr:70%")
        finally:
            path.write_bytes(whole)

    @property
    def of_classifier(self) -> tuple[Use, ...]:
        """Corrections that ask a classifier, and what reads it."""
        return (
            lambda file: self.render(f"seqc:rows=all,samples=200,classifier={file}"),
            lambda file: self.render(f"seqc:mode=sample,rows=all,samples=200,classifier={file}"),
            lambda file: Classifier.load(file),
        )

    def resumed(self, file: Path) -> None:
        """What was worked out so far: as it was written, or left out."""
        if kept := Partial(file).read():
            assert kept["rows"].equal(torch.ones(3, 4)) and int(kept["batches"]) == 3

    @property
    def of_labels(self) -> tuple[Use, ...]:
        """Labels as they are read, and as latents."""

        def merged(file: Path) -> None:
            read = labels.read(file).check(self.generator.fingerprint)
            labels.write(labels.merge([read, judged(self.G)]), file.with_suffix(".csv"))

        return (merged, self.latents)

    def latents(self, file: Path) -> None:
        """Latents to render."""
        z, c = next(iter(read_latents(str(file), self.generator).batches(self.generator, 2)))
        self.generator.synthesize(z, c)

    def rates(self, file: Path) -> None:
        """Rates of the authors'."""
        layer = self.generator.layers[0]
        os.replace(file, self.folder / f"rate_layer{layer.index}_a_b.npy")
        import_rates(self.generator, self.folder, "a", "b", 200)

    def direction(self, file: Path) -> None:
        """A boundary of the user's."""
        self.render(f"boundary:samples=200,direction={file}")

    @cached_property
    def answers(self) -> bytes:
        """A database with some answers in it, in one file."""
        path = self.folder / "whole.sqlite"
        answers = Answers(path, self.generator.fingerprint)
        answers.label("ann", "", [Answer(seed, "artifact", "eyes") for seed in range(200)])
        answers.judge("ann", "seqabl", 3, {"": "same"})
        answers.close()
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = DELETE")
        db.close()
        return path.read_bytes()

    def answered(self, file: Path) -> None:
        """All that is asked and told."""
        answers = Answers(file, self.generator.fingerprint)
        try:
            _ask(answers)
        finally:
            answers.close()

    def answered_meanwhile(self, file: Path) -> None:
        """What is asked of a file that was whole when it was opened."""
        broken = file.read_bytes()
        file.write_bytes(self.answers)
        answers = Answers(file, self.generator.fingerprint)
        try:
            file.write_bytes(broken)
            _ask(answers)
        finally:
            answers.close()

    def recorded(self, file: Path) -> None:
        """A corrected run into a folder with a record."""
        os.replace(file, self.folder / record.NAME)
        with attach(self.G, "seqabl:samples=200") as attachment:
            line = record.CommandLine(("generate.py",), "net.pkl", self.folder)
            record.leave(line, {"version": "0"}, [attachment])

    def picture(self, file: Path) -> None:
        """A folder of one picture."""
        (folder := self.folder / "pictures").mkdir(exist_ok=True)
        os.replace(file, folder / "0.png")
        list(read_images(folder))

    def pictures(self, file: Path) -> None:
        """A zip."""
        list(read_images(file))

    def case(self, chance: random.Random) -> tuple[str, Callable[[], object]]:
        """One damaged file, and one use of it."""
        kind = chance.choice(self.kinds)
        use = chance.choice(kind.uses)
        damage = chance.choice([damaged_bytes, *kind.damages])
        path = self.folder / f"damaged{kind.ending}"
        for left in self.folder.glob("damaged*"):
            left.unlink()
        path.write_bytes(damage(kind.content, chance))
        name = f"{kind.name}{kind.ending} by {damage.__name__}, use {kind.uses.index(use)}"
        return name, lambda: use(path)


def _ask(answers: Answers) -> None:
    answers.label("ann", "", [Answer(7, "normal")])
    answers.judge("ann", "seqabl", 3, {"": "worse"})
    answers.take_back("labels", "ann", "", 1)
    answers.labelled("ann", "")
    answers.labels()
    answers.judged("ann", "seqabl")
    answers.verdicts("seqabl")
    answers.corrections()
    answers.keep_scores("lr", {0: 1.0})
    answers.scores("lr")
    answers.chosen("ann")
    answers.chosen_labels()


def _png() -> bytes:
    file = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", _png())
    return file.getvalue()


def _detector() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 3, 4, 4)), file)
    return file.getvalue()


def _pickle() -> bytes:
    import pickle

    about = exports.About(["seqabl:rate=0.3"], [[0, 1]], "0123")
    return pickle.dumps({"G_ema": [str(about), 1.5, {"a": b"bytes"}], "D": None})


main = command(lambda folder: Workshop(folder).case, 3000, "Damage files and use them.")


if __name__ == "__main__":
    main()
