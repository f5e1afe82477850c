"""What people answered, in SQLite: an answer is on disk before its page hears that it is saved."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Label, Labels

FORMAT = "ganfix-answers-1"
SKIP = "skip"
ANSWERS = (*KINDS, SKIP)
KEPT, REJECTED = ("keep", "reject")
CHOICES = (KEPT, REJECTED, "")
IMPROVED, SAME, WORSE = VERDICTS = ("improved", "same", "worse")
OVERALL = ""  # the criterion of the question that is about the whole image
UNCORRECTED = ""  # the correction of images as the generator makes them

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rater TEXT NOT NULL,
    correction TEXT NOT NULL,
    seed INTEGER NOT NULL,
    answer TEXT NOT NULL CHECK (answer IN ('artifact', 'normal', 'skip')),
    criterion TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (rater, correction, seed)
);
CREATE TABLE IF NOT EXISTS verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rater TEXT NOT NULL,
    correction TEXT NOT NULL,
    seed INTEGER NOT NULL,
    criterion TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('improved', 'same', 'worse')),
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (rater, correction, seed, criterion)
);
CREATE TABLE IF NOT EXISTS choices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rater TEXT NOT NULL,
    seed INTEGER NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('keep', 'reject', '')),
    note TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (rater, seed)
);
CREATE TABLE IF NOT EXISTS scores (
    score TEXT NOT NULL,
    seed INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (score, seed)
);
"""


@dataclass(frozen=True)
class Answer:
    """One rater's word on one image: "artifact", "normal" or "skip", and by which criterion."""

    seed: int
    answer: str
    criterion: str = ""


@dataclass(frozen=True)
class Verdict:
    """One rater's word on a correction of one image: "improved", "same" or "worse"."""

    rater: str
    seed: int
    criterion: str
    verdict: str


@dataclass(frozen=True)
class Choice:
    """One rater's choice of an image: "keep", "reject" or "", and a note on it."""

    seed: int
    choice: str
    note: str = ""


class Answers:
    """The answers about one generator, in a file; safe to use from several threads."""

    def __init__(self, path: Path, generator: str | None = None):
        """Open the file; with a ``generator`` (its fingerprint), begin it if there is none.

        Raises:
            GanfixError: if it cannot be opened, is no file of answers, or is of another generator.
        """
        if generator is None and not path.exists():
            raise GanfixError(
                f"answers {path}: no such file; ganfix label, judge and explore make it"
            )
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # It holds the secret that shuffles sides; its log takes over who may read it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, timeout=10, check_same_thread=False)
            with ExitStack() as stack:
                stack.callback(self._db.close)  # else its log would lie beside what is no database
                about = self._prepare(generator)
                stack.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise GanfixError(f"answers {path}: cannot be used as one ({error})") from None
        self.generator, self.secret = about.get("generator", ""), about.get("secret", "")
        if generator is not None and self.generator != generator:
            raise GanfixError(
                f"answers {path}: are about another generator (fingerprint {self.generator[:16]}, "
                f"this one has {generator[:16]}); give another --answers FILE"
            )

    def _prepare(self, generator: str | None) -> dict[str, str]:
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
        if tables and "about" not in tables:
            raise GanfixError(f"answers {self.path}: is a database of something else")
        # Answers survive a power cut too: the log is flushed at every commit.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        if generator is not None:
            about = {"format": FORMAT, "generator": generator, "secret": secrets.token_hex(16)}
            self._write("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())
        kept: dict[str, str] = dict(self._rows("SELECT key, value FROM about"))
        if kept.get("format") != FORMAT:
            raise GanfixError(f"answers {self.path}: expected format {FORMAT}")
        return kept

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise GanfixError(f"answers {self.path}: cannot be read ({error})") from error

    def _write(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a query for each row, for all or for none.

        Raises:
            GanfixError: if they cannot be kept, on a full disk for example; of a `sqlite3.Error`.
        """
        try:
            with self._lock, self._db:
                self._db.executemany(query, rows)
        except sqlite3.IntegrityError:
            raise  # a caller's mistake, not the file's
        except sqlite3.Error as error:
            raise GanfixError(f"answers {self.path}: cannot be written ({error})") from error

    def label(self, rater: str, correction: str, answers: Iterable[Answer]) -> None:
        """Keep a rater's answers, all or none; a later word on a seed replaces the earlier one."""
        rows = [(rater, correction, item.seed, item.answer, item.criterion) for item in answers]
        columns = "rater, correction, seed, answer, criterion"
        self._write(f"INSERT OR REPLACE INTO labels ({columns}) VALUES (?, ?, ?, ?, ?)", rows)

    def judge(self, rater: str, correction: str, seed: int, verdicts: Mapping[str, str]) -> None:
        """Keep a rater's verdicts on one correction, by criterion, in the place of earlier ones."""
        rows = [(rater, correction, seed, *item) for item in verdicts.items()]
        columns = "rater, correction, seed, criterion, verdict"
        self._write(f"INSERT OR REPLACE INTO verdicts ({columns}) VALUES (?, ?, ?, ?, ?)", rows)

    def take_back(self, table: str, rater: str, correction: str, seed: int) -> None:
        """Remove what a rater said of a seed in a table ("labels" or "verdicts"), if anything."""
        query = f"DELETE FROM {table} WHERE rater = ? AND correction = ? AND seed = ?"
        self._write(query, [(rater, correction, seed)])

    def labelled(self, rater: str, correction: str) -> list[Answer]:
        """A rater's answers in the order in which they were given."""
        query = "SELECT seed, answer, criterion FROM labels WHERE rater = ? AND correction = ?"
        return [Answer(*row) for row in self._rows(f"{query} ORDER BY id", rater, correction)]

    def judged(self, rater: str, correction: str) -> list[int]:
        """The seeds that a rater compared, in the order in which that was done."""
        query = "SELECT seed FROM verdicts WHERE rater = ? AND correction = ?"
        rows = self._rows(f"{query} GROUP BY seed ORDER BY MAX(id)", rater, correction)
        return [seed for (seed,) in rows]

    def labels(self, correction: str = UNCORRECTED) -> Labels:
        """Everybody's answers but the skipped ones, as a label file holds them."""
        query = "SELECT seed, answer, rater, criterion FROM labels WHERE correction = ?"
        rows = self._rows(f"{query} AND answer != ? ORDER BY seed, rater", correction, SKIP)
        return self._of_rows(rows)

    def _of_rows(self, rows: Iterable[tuple[Any, ...]]) -> Labels:
        try:
            return Labels(self.generator, tuple(Label(*row) for row in rows))
        except (KeyError, ValueError) as error:
            raise GanfixError(f"answers {self.path}: are damaged: {error}") from None

    def verdicts(self, correction: str) -> list[Verdict]:
        """Everybody's verdicts on a correction."""
        query = "SELECT rater, seed, criterion, verdict FROM verdicts WHERE correction = ?"
        return [Verdict(*row) for row in self._rows(f"{query} ORDER BY id", correction)]

    def corrections(self) -> list[str]:
        """The corrections that somebody judged, the first one first."""
        both = "SELECT correction, at FROM labels UNION ALL SELECT correction, at FROM verdicts"
        query = f"SELECT correction FROM ({both}) WHERE correction != ? GROUP BY correction"
        rows = self._rows(f"{query} ORDER BY MIN(at), correction", UNCORRECTED)
        return [text for (text,) in rows]

    def choose(self, rater: str, choices: Iterable[Choice]) -> None:
        """Keep a rater's choices, all or none; a later one on a seed replaces the earlier one."""
        rows = [(rater, item.seed, item.choice, item.note) for item in choices]
        columns = "rater, seed, choice, note"
        self._write(f"INSERT OR REPLACE INTO choices ({columns}) VALUES (?, ?, ?, ?)", rows)

    def chosen(self, rater: str) -> list[Choice]:
        """A rater's choices and notes in the order in which they were made."""
        query = "SELECT seed, choice, note FROM choices WHERE rater = ? AND choice || note != ''"
        return [Choice(*row) for row in self._rows(f"{query} ORDER BY id", rater)]

    def chosen_labels(self) -> Labels:
        """Everybody's choices as a label file holds them: kept is normal, rejected an artifact."""
        query = "SELECT seed, choice, rater FROM choices WHERE choice != '' ORDER BY seed, rater"
        kinds = {KEPT: NORMAL, REJECTED: ARTIFACT}
        rows = self._rows(query)
        return self._of_rows((seed, kinds[choice], rater) for seed, choice, rater in rows)

    def scores(self, score: str) -> dict[int, float]:
        """What was kept of a score, by seed."""
        return dict(self._rows("SELECT seed, value FROM scores WHERE score = ?", score))

    def keep_scores(self, score: str, values: Mapping[int, float]) -> None:
        """Keep values of a score by seed, so that the next start need not compute them."""
        rows = [(score, *item) for item in values.items()]
        self._write("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
