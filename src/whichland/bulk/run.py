"""A whole batch: photos in, one file of answers out; one that was stopped is resumed from OUT.part.

    OUT.part/settings.json   which model and which settings
    OUT.part/rows.jsonl      the rows so far, appended a batch at a time

A line that the process died in is cut off; the photos of its batch are asked again. A batch is written with one
call: killing the process (SIGKILL included) costs the batch under way, a loss of power may cost some more.

On a Ray cluster each worker opens the bundle once and takes shards of the photos; workers must have this package and
see the bundle and the photos under the same paths (a shared file system).
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from whichland.allocator import keep_freed_memory
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import Photos, find_photos
from whichland.bulk.outputs import PINNED, check_ending, schema_of, write
from whichland.bulk.rows import LISTED, ExifCount, Row, Rows, answers, rows_for, shown
from whichland.errors import UserError
from whichland.images.containers import is_address
from whichland.model.bundle import bundle_hash
from whichland.model.model import Model, load
from whichland.printed import counted
from whichland.progress import Progress
from whichland.whole_file import whole_file
from whichland.workers import WORKER_DIED, map_on_ray

if TYPE_CHECKING:
    import polars as pl

DEFAULT = PredictConfig()
CHUNK = 1 << 16
BATCHES = 16  # of photos, in a shard for a worker of a Ray cluster


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch came to."""

    photos: int
    unreadable: int
    exif: ExifCount | None  # where the comparison was asked for


def predict_to(
    bundle: str | Path,
    inputs: Photos | Iterable[str],
    out: str | Path,
    config: PredictConfig = DEFAULT,
    *,
    ray: str | None = None,
    complain: Callable[[Row], None] = lambda row: None,
) -> Outcome:
    """Answer all photos that `inputs` name (see `inputs`) and write `out`, whose ending says the form.

        predict_to("runs/demo/bundle", ["photos/", "more.zip"], "answers.parquet", PredictConfig(pin=True))

    What is done lies in OUT.part until all is done: the same call resumes from there. With `ray`, the address of
    a cluster or "auto", its workers answer, each seeing bundle and photos under the same paths. `complain` is
    called with the row of each photo that could not be read, in this call. Raises UserError, before any photo is
    read, for an `out` that cannot be written, settings that the bundle does not allow, and a half-done batch of
    another model or other settings.
    """
    bundle, out = Path(bundle), Path(out)
    check_ending(out)
    photos = inputs if isinstance(inputs, Photos) else find_photos(inputs)
    if out.is_dir():
        raise UserError(f"-o {out} is a folder; give the name of a file")
    if out.suffix.lower() in PINNED:
        config = replace(config, pin=True)
    model = load(bundle, engine=config.engine)
    rows = rows_for(model, config)
    schema = schema_of(rows)  # what makes tables is wanted before any photo is read
    with Journal(out, bundle, config) as journal:
        waiting = journal.waiting(photos)
        done = len(photos) - len(waiting)
        pictured = max(0, LISTED - done) if out.suffix.lower() == ".html" else 0
        with Progress("predicting", len(photos)) as progress:
            progress.advance(done)
            for batch in _rows(model, waiting, rows, ray, pictured):
                journal.add(batch)
                for row in batch:
                    if row["error"] is not None:
                        complain(row)
                progress.advance(len(batch))
        frame = journal.frame(photos, schema)
        write(frame, out, rows, title=f"{counted(len(photos), 'photo')}, as {model.name} sees them")
        journal.remove()
    exif, unreadable = None, frame["error"].count()
    if config.check_exif:
        agrees = frame["agrees"]
        exif = ExifCount(photos=frame.height - unreadable, placed=agrees.count(), agree=int(agrees.sum() or 0))
    return Outcome(photos=frame.height, unreadable=unreadable, exif=exif)


def _rows(model: Model, waiting: Photos, rows: Rows, ray: str | None, pictured: int) -> Iterator[list[Row]]:
    """The rows of the photos that wait, a batch at a time."""
    if ray is not None:
        yield from rows_on_ray(model.folder.resolve(), waiting, rows.config, address=ray, thumbnails=pictured)
        return
    for batch in answers(model, waiting, rows.config, addresses=waiting.addresses, thumbnails=pictured):
        yield rows.of(batch)


class Journal:
    """The half-done batch of one file; a context manager that lets go of it."""

    def __init__(self, out: Path, bundle: Path, config: PredictConfig) -> None:
        """Begin the batch, or open it to resume. Raises UserError when it is one of another model or settings."""
        networks = sorted(path.name for path in bundle.iterdir() if path.name.startswith("model."))
        self.folder = out.with_name(out.name + ".part")
        self._rows = self.folder / "rows.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = {"model": bundle_hash(bundle, *networks), "form": out.suffix.lower(), **config.of_answers}
            if others := differing(self.folder, settings):
                raise UserError(
                    f"{self.folder} holds a batch that was begun with another {', '.join(others)}: "
                    "give the same to resume, or remove it to begin anew"
                )
            self._file = self._rows.open("ab")
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written ({error.strerror or error}); give another -o") from None
        _lock(self._file.fileno(), self.folder)
        self._file.truncate(_whole_lines(self._rows))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def add(self, rows: Sequence[Row]) -> None:
        """Keep a batch of rows."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._file.write(lines.encode())
        self._file.flush()

    def waiting(self, photos: Photos) -> Photos:
        """Those of the photos that have no row yet."""
        if not self._rows.stat().st_size:
            return photos
        import polars as pl

        done = pl.read_ndjson(self._rows, schema={"path": pl.String})["path"]
        return Photos(photos[at] for at in (~_paths(photos).is_in(done.unique().implode())).arg_true())

    def frame(self, photos: Photos, schema: Mapping[str, "pl.DataType"]) -> "pl.DataFrame":
        """The rows of the photos, in their order."""
        import polars as pl

        found = pl.read_ndjson(self._rows, schema=dict(schema))
        found = found.unique("path", keep="last", maintain_order=True)
        return pl.DataFrame({"path": _paths(photos)}).join(found, on="path", how="left", maintain_order="left")

    def remove(self) -> None:
        """Remove it, once the answers lie where they were asked for."""
        self._rows.unlink()
        (self.folder / "settings.json").unlink()
        self.folder.rmdir()


def differing(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Which settings are not those that a half-done batch was begun with; they are kept there where it begins."""
    path = folder / "settings.json"
    if not path.is_file():
        with whole_file(path) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return []
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return [name for name in settings if known.get(name) != settings[name]]
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: not readable ({error}); remove {folder} to begin anew") from None


def _paths(photos: Photos) -> "pl.Series":
    """The column `path` of all photos."""
    import polars as pl

    chunks = (photos[start : start + CHUNK] for start in range(0, len(photos), CHUNK))
    return pl.concat([pl.Series("path", list(map(shown, chunk)), dtype=pl.String) for chunk in chunks])


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


class Shard(NamedTuple):
    """What a worker is given at a time."""

    bundle: Path
    config: PredictConfig
    photos: list[str]
    thumbnails: int
    folder: str  # that relative paths are seen from


def rows_on_ray(
    bundle: Path, photos: Sequence[str], config: PredictConfig, *, address: str, thumbnails: int = 0
) -> Iterator[list[Row]]:
    """Yield the rows of `photos` in order, a shard at a time; `address` is as `map_on_ray` takes it.

    The photos of a shard whose workers keep dying are tried one by one, and the deadly one is reported.
    """
    size, folder, gpu = BATCHES * config.batch_size, str(Path.cwd()), config.engine in ("auto", "torch")

    def shards() -> Iterator[Shard]:
        for start in range(0, len(photos), size):
            yield Shard(bundle, config, list(photos[start : start + size]), max(0, thumbnails - start), folder)

    found = map_on_ray(rows_of_shard, shards(), address=address, retries=2, gpu=gpu)
    for shard, rows in zip(shards(), found, strict=True):
        yield rows if rows is not None else _one_by_one(shard, address, gpu)


def _one_by_one(shard: Shard, address: str, gpu: bool) -> list[Row]:
    singles = [shard._replace(photos=[photo]) for photo in shard.photos]
    found = map_on_ray(rows_of_shard, singles, address=address, retries=0, gpu=gpu)
    return [
        rows[0] if rows else {"path": shown(photo), "error": WORKER_DIED}
        for photo, rows in zip(shard.photos, found, strict=True)
    ]


def rows_of_shard(shard: Shard) -> list[Row]:
    """Answer a shard; the unit of work of a Ray task, in a worker's process."""
    keep_freed_memory()
    model, rows = _opened(shard.bundle, shard.config)
    with chdir(shard.folder):
        found = answers(
            model, shard.photos, shard.config, addresses=any(map(is_address, shard.photos)), thumbnails=shard.thumbnails
        )
        return [row for batch in found for row in rows.of(batch)]


@lru_cache(maxsize=1)
def _opened(bundle: Path, config: PredictConfig) -> tuple[Model, Rows]:
    """The bundle of this worker; Ray gives a task one core, so the network takes no more."""
    model = load(bundle, engine=config.engine, threads=1)
    return model, rows_for(model, config)
