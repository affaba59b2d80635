"""The one table: a row an image, written by each step in turn, with its history in the Parquet metadata.

A step is a pure function from `Manifest` to `Manifest`: it adds or fills columns, never deletes a row, and
appends a `Step` that says what it did.
"""

import csv
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from whichland.errors import UserError
from whichland.printed import counted
from whichland.whole_file import whole_file

HISTORY_KEY = "whichland.history"
Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the manifest."""

    name: str
    dtype: pl.DataType
    writer: str  # the step that fills it
    meaning: str
    nullable: bool = True
    values: tuple[str, ...] | None = None  # the only values allowed, where they are few


with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    SCHEMA = tuple(
        Column(
            name=row["name"],
            dtype=getattr(pl, row["dtype"])(),
            writer=row["writer"],
            meaning=row["meaning"],
            nullable=row["nullable"] != "no",
            values=tuple(row["values"].split()) or None,
        )
        for row in csv.DictReader(_file)
    )
COLUMNS = {column.name: column for column in SCHEMA}
ORDER = {name: place for place, name in enumerate(COLUMNS)}
MEASURED = tuple(column.name for column in SCHEMA if column.writer in ("measure", "score"))  # what the bytes decide
CREDIT = ("attribution", "creator", "license")  # what a photo's credit line is made of


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of history: what a step did to the table."""

    step: str
    params: dict[str, Any]
    version: str
    rows: int
    dropped: dict[str, int]  # rows left out so far, by reason


@dataclass(frozen=True)
class Rest:
    """Columns that `read` left in a file, in the order of its rows."""

    path: Path
    columns: tuple[str, ...]
    seen: tuple[int, ...]  # `_stamp` of the file when it was read

    def scan(self) -> pl.LazyFrame:
        """The columns. Raises UserError when the file is not the one that was read."""
        try:
            same = _stamp(self.path) == self.seen
        except OSError:
            same = False
        if not same:
            raise UserError(f"{self.path}: changed while it was worked on, by another command; run this one again")
        return pl.scan_parquet(self.path, glob=False).select(self.columns)


@dataclass(frozen=True)
class Manifest:
    """The table and how it came to be. Immutable; steps return a new one."""

    frame: pl.DataFrame
    history: tuple[Step, ...] = ()
    rest: Rest | None = None  # columns that were left in the file; `write` takes them along

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        """One line: the summary and the last step."""
        last = f"; last step: {self.history[-1].step}" if self.history else ""
        return f"<Manifest {self.summary}{last}>"

    @property
    def summary(self) -> str:
        """How many rows, kept ones and countries there are, and how they are split."""
        frame, words = self.frame, [counted(len(self), "row")]
        if "drop_reason" in frame.columns:
            words.append(f"{self.kept_count:,} kept")
        if "country" in frame.columns:
            codes = self.kept_with("country").to_series().drop_nulls()
            words.append(counted(codes.n_unique(), "country", "countries"))
        if "split" in frame.columns:
            counts = dict(frame["split"].drop_nulls().value_counts().iter_rows())
            words += [f"{part} {counts.get(part, 0):,}" for part in COLUMNS["split"].values or ()]
        return ", ".join(words)

    def _repr_html_(self) -> str:
        """The line and the first rows, for a notebook."""
        return f"<p>{html.escape(repr(self))}</p>{self.frame.head()._repr_html_()}"

    @property
    def whole(self) -> pl.LazyFrame:
        """All columns in the order of the schema, those that were left in the file among them."""
        if self.rest is None:
            return self.frame.lazy()
        table = pl.concat([self.frame.lazy(), self.rest.scan()], how="horizontal")
        in_order = sorted(self.columns, key=lambda name: ORDER.get(name, len(ORDER)))
        return table.select(in_order)

    @property
    def kept(self) -> pl.DataFrame:
        """Rows without a drop reason (all rows before `clean` has run)."""
        return self.kept_with(*self.frame.columns)

    def kept_with(self, *columns: str) -> pl.DataFrame:
        """Kept rows with these columns alone, from the file where they were left there: no others are copied."""
        table = self._with((*columns, "drop_reason"))
        if "drop_reason" in self.columns:
            table = table.filter(pl.col("drop_reason").is_null())
        return table.select(columns).collect()

    def _with(self, names: Iterable[str]) -> pl.LazyFrame:
        """A table with these columns, as far as they are anywhere: that in memory if none of them lies in the file."""
        return self.whole if self.rest and not set(names).isdisjoint(self.rest.columns) else self.frame.lazy()

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those that were left in the file among them."""
        return [*self.frame.columns, *(self.rest.columns if self.rest else ())]

    @property
    def kept_count(self) -> int:
        """How many rows have no drop reason."""
        table = with_empty(self._with(["drop_reason"]), "drop_reason")
        return int(table.select(pl.col("drop_reason").null_count()).collect().item())

    def with_step(self, step: str, frame: pl.DataFrame, **params: Any) -> "Manifest":
        """Return the manifest that `step` made: `frame` in schema order, one more line of history."""
        from whichland import __version__

        known = [column.name for column in SCHEMA if column.name in frame.columns]
        extra = [name for name in frame.columns if name not in COLUMNS]
        dropped: dict[str, int] = {}
        if "drop_reason" in frame.columns:
            counts = frame["drop_reason"].drop_nulls().value_counts(sort=True)
            dropped = dict(counts.iter_rows())
        line = Step(step=step, params=params, version=__version__, rows=frame.height, dropped=dropped)
        return Manifest(frame.select(known + extra), (*self.history, line), self.rest)

    def last(self, step: str) -> dict[str, Any] | None:
        """The parameters of the last run of a step; None when it has not run on this table."""
        return next((line.params for line in reversed(self.history) if line.step == step), None)

    def digest(self, label: str, *more: str) -> str:
        """SHA-256 of what a run on the column `label` depends on: each kept row's id, label and split, by id.

        `more` names further columns, which count where they are there.
        """
        self.require(label, "split", hint="run `whichland data split` first")
        columns = ["image_id", label, "split", *(name for name in more if name in self.frame.columns)]
        return hashlib.sha256(self.kept_with(*columns).sort("image_id").write_csv().encode()).hexdigest()

    def require(self, *names: str, hint: str) -> None:
        """Raise UserError when a column that a step needs has not been written yet."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise UserError(f"the manifest has no column {', '.join(missing)}: {hint}")


def left_out(manifest: Manifest) -> str:
    """How many rows were left out and why, in words, such as "left out: 60 of 61 rows (59 no_country, 1 dark)"."""
    reasons = with_empty(manifest.whole, "drop_reason").select("drop_reason").collect()["drop_reason"]
    dropped = reasons.drop_nulls().value_counts(sort=True)
    why = f" ({', '.join(f'{count:,} {reason}' for reason, count in dropped.iter_rows())})" if len(dropped) else ""
    return f"left out: {len(manifest) - manifest.kept_count:,} of {counted(len(manifest), 'row')}{why}"


def with_empty(frame: Table, *names: str) -> Table:
    """Add those columns of the manifest that no step has written yet, empty."""
    there = frame.collect_schema().names()
    missing = [name for name in names if name not in there]
    return frame.with_columns(pl.lit(None, dtype=COLUMNS[name].dtype).alias(name) for name in missing)


def sequence_key() -> pl.Expr:
    """What a row's sequence is known by: null without one.

    Numbers and names of drives are unique within one collection only, so the source is a part of it; but what is
    made to be unique in the world (UUIDs, hashes, Mapillary's ids) names one drive wherever it stands.
    """
    name = pl.col("sequence")
    digits = name.str.contains(r"[0-9]") & name.str.contains(r"[A-Fa-f]")
    hexadecimal = name.str.contains(r"^(?:[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")
    letters = name.str.contains(r"[a-z]") & name.str.contains(r"[A-Z]")
    base64 = name.str.contains(r"^[A-Za-z0-9_-]{22}$")
    worldwide = hexadecimal & digits | base64 & letters | name.str.starts_with(pl.col("source") + "/")
    return pl.when(worldwide).then(name).otherwise(pl.col("source") + "/" + name)


def credit(row: Mapping[str, Any]) -> str:
    """The line to print where a photo is shown: its attribution, else its creator and licence; maybe "".

    `row` holds one row's values by the columns' names; those of `CREDIT` may be missing.
    """
    attribution, creator, license = (row.get(name) for name in CREDIT)
    return attribution or ", ".join(filter(None, (creator, license)))


def problems(table: pl.DataFrame | pl.LazyFrame) -> list[str]:
    """List what breaks the schema: missing or mistyped columns, nulls and values that may not be."""
    found, table = [], table.lazy()
    schema = table.collect_schema()
    for column in SCHEMA:
        if column.name not in schema:
            if column.writer == "sources" and not column.nullable:
                found.append(f"column {column.name} is missing")
            continue
        if schema[column.name] != column.dtype:
            found.append(f"column {column.name} is {schema[column.name]}, not {column.dtype}")
            continue
        if column.nullable and not column.values:
            continue
        series = table.select(column.name).collect().to_series()  # one at a time: a table may be larger than memory
        if not column.nullable and series.null_count():
            found.append(f"column {column.name} has {series.null_count()} empty cells")
        elif column.values and not set(series.drop_nulls().unique()) <= set(column.values):
            wrong = sorted(set(series.drop_nulls().unique()) - set(column.values))
            found.append(f"column {column.name} has values outside {', '.join(column.values)}: {wrong[:3]}")
        if column.name == "image_id" and series.n_unique() < len(series):
            repeated = series.filter(series.is_duplicated()).unique().sort()
            found.append(f"{repeated.len()} image_id occur more than once, {repeated[0]!r} first")
    return found


def read(path: str | Path, only: Iterable[str] | None = None) -> Manifest:
    """Read a manifest from Parquet. Raises UserError when it is missing, not a manifest, or breaks the schema.

    With `only` these columns alone are in memory, as far as the table has them; the others stay in the file, which
    must not change until the manifest is written; if it has, `write` says so.
    """
    path = Path(path)
    if path.is_dir():
        made = f"make one with `whichland data prepare {path} -o {path.resolve().name}.parquet`"
        raise UserError(f"{path} is a folder, and a manifest is a file: {made}")
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; make one with `whichland data prepare PHOTOS -o {path}`")
    try:
        seen = _stamp(path)
        metadata = pl.read_parquet_metadata(path)
        table = pl.scan_parquet(path, glob=False)
        names = table.collect_schema().names()
        wanted = names if only is None else [name for name in names if name in set(only)]
        left = tuple(name for name in names if name not in wanted)
        manifest = Manifest(table.select(wanted).collect(), rest=Rest(path, left, seen) if left else None)
        found = problems(manifest.whole)  # what is in memory is not read again
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if found:
        raise UserError(f"{path}: not a valid manifest: {found[0]}")
    try:
        history = tuple(Step(**line) for line in json.loads(metadata.get(HISTORY_KEY, "[]")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: its history cannot be read ({error}); make the manifest anew") from None
    return Manifest(manifest.frame, history, manifest.rest)


def _stamp(path: Path) -> tuple[int, ...]:
    """What another file of that name, or the same written anew, does not share."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def write(manifest: Manifest, path: str | Path) -> Path:
    """Write the manifest to Parquet, whole or not at all. Raises UserError when it cannot be written there."""
    path = Path(path)
    history = json.dumps([asdict(line) for line in manifest.history])
    with whole_file(path) as partial:
        manifest.whole.sink_parquet(partial, metadata={HISTORY_KEY: history})
    return path
