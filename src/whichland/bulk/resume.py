"""The answers of a half-done batch, in OUT.part, so that it can be killed at any moment and resumed.

    OUT.part/settings.json   which model and which settings
    OUT.part/rows.jsonl      the rows so far, appended a batch at a time

A line that the process died in is cut off; the photos of its batch are asked again. A batch is written with one
call: killing the process (SIGKILL included) costs the batch under way, a loss of power may cost some more.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import Photos
from whichland.bulk.rows import Row, shown
from whichland.errors import UserError
from whichland.model.bundle import bundle_hash
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    import polars as pl

CHUNK = 1 << 16


class Journal:
    """The half-done batch of one file; a context manager that lets go of it."""

    def __init__(self, out: Path, bundle: Path, config: PredictConfig) -> None:
        """Begin the batch, or open it to go on. Raises UserError when it is one of another model or settings."""
        networks = sorted(path.name for path in bundle.iterdir() if path.name.startswith("model."))
        self.folder = out.with_name(out.name + ".part")
        self._rows = self.folder / "rows.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._bind({"model": bundle_hash(bundle, *networks), "form": out.suffix.lower(), **config.of_answers})
            self._file = self._rows.open("ab")
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written ({error.strerror or error}); give another -o") from None
        _lock(self._file.fileno(), self.folder)
        self._file.truncate(_whole_lines(self._rows))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def _bind(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / "settings.json"
        if not path.is_file():
            with whole_file(path) as partial:
                partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
            return
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            differing = [name for name in settings if known.get(name) != settings[name]]
        except (ValueError, AttributeError) as error:
            raise UserError(f"{path}: not readable ({error}); remove {self.folder} to begin anew") from None
        if differing:
            raise UserError(
                f"{self.folder} holds a batch that was begun with another {', '.join(differing)}: "
                "give the same to go on, or remove it to begin anew"
            )

    def add(self, rows: Sequence[Row]) -> None:
        """Keep a batch of rows."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._file.write(lines.encode())
        self._file.flush()

    def waiting(self, photos: Photos) -> "Waiting":
        """Those of the photos that have no row yet."""
        if not self._rows.stat().st_size:
            return Waiting(photos, range(len(photos)))
        import polars as pl

        done = pl.read_ndjson(self._rows, schema={"path": pl.String})["path"]
        return Waiting(photos, (~paths_of(photos).is_in(done.unique().implode())).arg_true().to_numpy())

    def frame(self, photos: Photos, schema: Mapping[str, "pl.DataType"]) -> "pl.DataFrame":
        """The rows of the photos, in their order."""
        import polars as pl

        found = pl.read_ndjson(self._rows, schema=dict(schema))
        found = found.unique("path", keep="last", maintain_order=True)
        return pl.DataFrame({"path": paths_of(photos)}).join(found, on="path", how="left", maintain_order="left")

    def remove(self) -> None:
        """Remove it, once the answers lie where they were asked for."""
        self._rows.unlink()
        (self.folder / "settings.json").unlink()
        self.folder.rmdir()


class Waiting(Sequence[str]):
    """The photos that are still to be asked about."""

    def __init__(self, photos: Photos, at: Sequence[int] | Any) -> None:
        self._photos, self._at = photos, at

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._photos[int(one)] for one in self._at[at]]
        return self._photos[int(self._at[at])]


def paths_of(photos: Photos) -> "pl.Series":
    """The column `path` of all photos."""
    import polars as pl

    parts = [
        pl.Series([shown(photo) for photo in photos[start : start + CHUNK]], dtype=pl.String)
        for start in range(0, len(photos), CHUNK)
    ]
    return pl.concat(parts).alias("path")


def _whole_lines(path: Path) -> int:
    """How many bytes of a file are whole lines."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            begin = max(0, end - CHUNK)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0


def _lock(file: int, folder: Path) -> None:
    """Keep a second process out as long as this one has the file open; Windows has no such lock."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"{folder}: another prediction is being written there; wait for it") from None
