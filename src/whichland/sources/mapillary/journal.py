"""What has been asked, found and stored, so that a harvest can be killed at any moment and resumed.

One SQLite file in the harvest's folder. A transaction that has been committed outlives the process (SIGKILL
included); a loss of power may cost the last few, never the file (WAL, synchronous=NORMAL). The file is locked
while a harvest runs: two of them cannot spend one budget twice.

An area is worked through box by box in a fixed order (`cell` counts them), a box that is cut up is named by the
path of its quarters ("": the whole, "02": quarter 2 of quarter 0). The token is never written here.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from whichland.errors import UserError
from whichland.sources.mapillary.records import Record

FILE = "harvest.sqlite3"

_TABLES = """
CREATE TABLE IF NOT EXISTS harvest (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (kind TEXT PRIMARY KEY, requests INTEGER, next_at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS area (area INTEGER PRIMARY KEY, next_cell INTEGER, idle INTEGER, finished INTEGER);
CREATE TABLE IF NOT EXISTS box (area INTEGER, cell INTEGER, path TEXT, outcome TEXT, reason TEXT,
    PRIMARY KEY (area, cell, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS found (area INTEGER, cell INTEGER, id TEXT, record TEXT,
    PRIMARY KEY (area, cell, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS image (id TEXT PRIMARY KEY, area INTEGER, sequence TEXT, state TEXT, record TEXT,
    bytes INTEGER, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS left_out (reason TEXT PRIMARY KEY, images INTEGER) WITHOUT ROWID;
"""
_WANT = "INSERT OR IGNORE INTO image (id, area, sequence, record, state) VALUES (?, ?, ?, ?, 'wanted')"
_LEAVE_OUT = "INSERT INTO left_out VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET images = images + excluded.images"

COUNTS = {
    "requests": "SELECT kind, requests FROM spent",  # one that was about to be sent as the process died counts, too
    "states": "SELECT state, count(*) FROM image GROUP BY state",  # the chosen images by what came of them
    "reasons": "SELECT reason, count(*) FROM image WHERE state IN ('gone', 'gave up') GROUP BY reason "
    "ORDER BY count(*) DESC, reason",  # of the photos that could not be had
    "left_out": "SELECT reason, images FROM left_out ORDER BY images DESC, reason",  # by the settings
}


class BudgetSpentError(UserError):
    """Every request that the budget allows has been sent."""


class Wanted(NamedTuple):
    """A photo to fetch; `record` is None when only its id is known."""

    id: str
    record: Record | None


class Settled(NamedTuple):
    """What came of a photo: 'stored', 'gone' (for good), 'gave up' (this time) or 'left out'."""

    state: str
    record: Record | None = None
    size: int | None = None
    reason: str | None = None


class Frontier(NamedTuple):
    """How far an area has been worked through: the first box not chosen from, and how many in a row were empty."""

    next_cell: int = 0
    idle: int = 0
    finished: bool = False


class Journal:
    """The journal of one harvest; every method may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / FILE, timeout=1.0, isolation_level=None, check_same_thread=False)
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {setting}")
            self._db.executescript("BEGIN IMMEDIATE;" + _TABLES + "COMMIT;")
        except OSError as error:
            raise UserError(f"{folder}: no folder to write to ({error.strerror}); take another --folder") from None
        except sqlite3.DatabaseError as error:
            busy = "locked" in str(error)
            why = "another harvest is using this folder" if busy else f"not a harvest's journal ({error})"
            raise UserError(f"{folder / FILE}: {why}; wait for it or take another --folder") from None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _do(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def count(self, what: str) -> dict[str, int]:
        """Count by kind, state or reason; `what` is one of COUNTS."""
        return dict(self._do(COUNTS[what]))

    def bind(self, settings: dict[str, Any], folder: Path) -> None:
        """Note what is harvested here. Raises UserError when it is something else than before."""
        known = dict(self._do("SELECT name, value FROM harvest"))
        wanted = {name: json.dumps(value) for name, value in settings.items()}
        if known and known != wanted:
            differing = [name for name in wanted if known.get(name) != wanted[name]]
            raise UserError(
                f"{folder} holds another harvest (its {', '.join(differing)} differ): give the same settings "
                "to resume it, or another --folder"
            )
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO harvest VALUES (?, ?)", wanted.items())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of a block's changes or none."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # a failed COMMIT, as on a full disk, leaves it open
                    self._db.execute("ROLLBACK")

    # -- requests -------------------------------------------------------------------------------------------------

    def next_at(self) -> float:
        """The time, seconds since 1970, before which no request may be sent."""
        return float(self._do("SELECT coalesce(max(next_at), 0) FROM spent")[0][0])

    def spend(self, kind: str, budget: int, next_at: float) -> None:
        """Count a request before it is sent. Raises BudgetSpentError instead when the budget is used up."""
        with self._transaction():
            if sum(self.count("requests").values()) >= budget:
                raise BudgetSpentError(f"the budget of {budget:,} requests is spent")
            self._db.execute(
                "INSERT INTO spent VALUES (?, 1, ?) ON CONFLICT (kind) "
                "DO UPDATE SET requests = requests + 1, next_at = excluded.next_at",
                (kind, next_at),
            )

    # -- searching ------------------------------------------------------------------------------------------------

    def frontier(self, area: int) -> Frontier:
        """How far an area has been worked through."""
        rows = self._do("SELECT next_cell, idle, finished FROM area WHERE area = ?", area)
        return Frontier(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else Frontier()

    def outcomes(self, area: int, cell: int) -> dict[str, str]:
        """Give what came of a box and its quarters so far, by path."""
        return dict(self._do("SELECT path, outcome FROM box WHERE area = ? AND cell = ?", area, cell))

    def box(
        self, area: int, cell: int, path: str, outcome: str, records: Iterable[Record] = (), reason: str = ""
    ) -> None:
        """Note what came of a box, with the images found in it."""
        rows = [(area, cell, record["id"], json.dumps(record)) for record in records]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO box VALUES (?, ?, ?, ?, ?)", (area, cell, path, outcome, reason))

    def failed_boxes(self) -> list[str]:
        """Give the reasons of the boxes that could not be searched."""
        return [reason for (reason,) in self._do("SELECT reason FROM box WHERE outcome = 'failed'")]

    def found(self, area: int, cell: int) -> list[Record]:
        """Give the images found in a box and all its quarters, each once, by id."""
        rows = self._do("SELECT record FROM found WHERE area = ? AND cell = ? ORDER BY id", area, cell)
        return [json.loads(record) for (record,) in rows]

    def choose(self, area: int, cell: int, chosen: list[Record], frontier: Frontier, left_out: dict[str, int]) -> None:
        """Note which images of a box are wanted, and that the box is done with."""
        with self._transaction():
            self._db.executemany(_WANT, [(r["id"], area, r["sequence"], json.dumps(r)) for r in chosen])
            self._db.execute("INSERT OR REPLACE INTO area VALUES (?, ?, ?, ?)", (area, *frontier))
            self._db.execute("DELETE FROM found WHERE area = ? AND cell = ?", (area, cell))
            self._db.execute("DELETE FROM box WHERE area = ? AND cell = ? AND outcome <> 'failed'", (area, cell))
            self._db.executemany(_LEAVE_OUT, left_out.items())

    def want(self, area: int, ids: Iterable[str], sequence: str | None) -> None:
        """Note images of which only the id is known, and that the list of them is complete."""
        with self._transaction():
            self._db.executemany(_WANT, [(native, area, sequence, None) for native in ids])
            self._db.execute("INSERT OR REPLACE INTO area VALUES (?, 1, 0, 1)", (area,))

    def known(self, native: str) -> bool:
        """Whether an image has been chosen before."""
        return bool(self._do("SELECT 1 FROM image WHERE id = ?", native))

    def counts(self, area: int) -> tuple[int, dict[str, int]]:
        """Count the images chosen from an area, in all and by sequence."""
        rows = self._do("SELECT sequence, count(*) FROM image WHERE area = ? GROUP BY sequence", area)
        return sum(count for _, count in rows), {name: count for name, count in rows if name is not None}

    # -- photos ---------------------------------------------------------------------------------------------------

    def reopen(self, missing: Iterable[str]) -> None:
        """Want again what was given up in an earlier run, and the stored photos that are not there any more."""
        with self._transaction():
            self._db.execute("UPDATE image SET state = 'wanted', reason = NULL WHERE state = 'gave up'")
            self._db.executemany("UPDATE image SET state = 'wanted' WHERE id = ?", [(native,) for native in missing])

    def wanted(self) -> list[Wanted]:
        """Give the photos still to fetch, by id."""
        rows = self._do("SELECT id, record FROM image WHERE state = 'wanted' ORDER BY id")
        return [Wanted(native, json.loads(record) if record else None) for native, record in rows]

    def stored(self) -> list[tuple[Any, ...]]:
        """Give (id, record as JSON, bytes of the file) of the photos stored, by id."""
        return self._do("SELECT id, record, bytes FROM image WHERE state = 'stored' ORDER BY id")

    def settle(self, native: str, what: Settled) -> None:
        """Note what came of a photo."""
        record = json.dumps(what.record) if what.record else None
        with self._transaction():
            self._db.execute(
                "UPDATE image SET state = ?, record = coalesce(?, record), bytes = ?, reason = ? WHERE id = ?",
                (what.state, record, what.size, what.reason, native),
            )
            if what.state == "left out" and what.reason:
                self._db.execute(_LEAVE_OUT, (what.reason, 1))
