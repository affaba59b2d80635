"""A whole batch: photos in, one file of answers out; one that was stopped is resumed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from whichland.bulk.answers import answers
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import Photos, find_photos
from whichland.bulk.outputs import LISTED, PINNED, check_ending, schema_of, write
from whichland.bulk.resume import Journal
from whichland.bulk.rows import Row, Rows, rows_for
from whichland.errors import UserError
from whichland.model.model import Model, load
from whichland.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from whichland.bulk.exif import ExifCount

DEFAULT = PredictConfig()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch came to."""

    photos: int
    unreadable: int
    exif: "ExifCount | None"  # where the comparison was asked for


def predict_to(
    bundle: str | Path,
    things: Photos | Iterable[str],
    out: str | Path,
    config: PredictConfig = DEFAULT,
    *,
    ray: str | None = None,
    complain: Callable[[Row], None] = lambda row: None,
) -> Outcome:
    """Answer all photos that `things` name (see `inputs`) and write `out`, whose ending says the form.

        predict_to("runs/demo/bundle", ["photos/", "more.zip"], "answers.parquet", PredictConfig(pin=True))

    What is done lies in OUT.part until all is done: the same call goes on from there. With `ray`, the address of
    a cluster or "auto", its workers answer, each seeing bundle and photos under the same paths. `complain` is
    called with the row of each photo that could not be read, in this call. Raises UserError, before any photo is
    read, for an `out` that cannot be written, settings that the bundle does not allow, and a half-done batch of
    another model or other settings.
    """
    bundle, out = Path(bundle), Path(out)
    check_ending(out)
    photos = things if isinstance(things, Photos) else find_photos(things)
    if out.is_dir():
        raise UserError(f"-o {out} is a folder; give the name of a file")
    if out.suffix.lower() in PINNED:
        config = replace(config, pin=True)
    model = load(bundle, engine=config.engine)
    rows = rows_for(model, config)
    with Journal(out, bundle, config) as journal:
        waiting = journal.waiting(photos)
        with Progress("predicting", len(photos)) as progress:
            progress.advance(len(photos) - len(waiting))
            for batch in _rows(model, waiting, photos, out, rows, ray):
                journal.add(batch)
                for row in batch:
                    if row["error"] is not None:
                        complain(row)
                progress.advance(len(batch))
        frame = journal.frame(photos, schema_of(rows))
        write(frame, out, rows, title=f"{len(photos):,} photos, as {model.name} sees them")
        journal.remove()
    return _outcome(frame, config)


def _rows(
    model: Model, waiting: Sequence[str], photos: Photos, out: Path, rows: Rows, ray: str | None
) -> Iterator[list[Row]]:
    """The rows of the photos that wait, a batch at a time."""
    pictured = LISTED - (len(photos) - len(waiting)) if out.suffix.lower() == ".html" else 0
    pictured = max(0, pictured)
    if ray is not None:
        from whichland.bulk.ray import rows_on_ray

        yield from rows_on_ray(model.folder.resolve(), waiting, rows.config, address=ray, thumbnails=pictured)
        return
    for batch in answers(model, waiting, rows.config, addresses=photos.addresses, thumbnails=pictured):
        yield rows.of(batch)


def _outcome(frame: "pl.DataFrame", config: PredictConfig) -> Outcome:
    unreadable = frame["error"].count()
    exif = None
    if config.check_exif:
        from whichland.bulk.exif import ExifCount

        agrees = frame["agrees"]
        exif = ExifCount(photos=frame.height - unreadable, placed=agrees.count(), agree=int(agrees.sum() or 0))
    return Outcome(photos=frame.height, unreadable=unreadable, exif=exif)
