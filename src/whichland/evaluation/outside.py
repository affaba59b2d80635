"""Answers that were not made here: a table of photos with a country, or coordinates, each.

Whoever or whatever gave them (a person, a vision-language model, another program) is compared as a bundle is. The
table may be CSV, JSON, JSON lines or Parquet, with the names of columns that `sources/words.toml` lists; what
`whichland predict --out` writes is such a table.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from whichland.errors import UserError
from whichland.geo.territories import ISO, folded
from whichland.manifest import Manifest
from whichland.model.labels import COUNTRY
from whichland.printed import counted
from whichland.sources import columns
from whichland.sources.columns import ROLES, WORDS, say
from whichland.sources.files import absolute
from whichland.sources.table import read_text
from whichland.whole_file import whole_file

NO_COUNTRY = ""  # the guess of an answer that names none: wrong for every photo
READ = ("path", "image_id", "country", "lat", "lon", "place")
PARTS = re.compile(r"[/\\]|#(?!\d+$)")  # between the parts of a uri; a row of a shard stays with its file
WHOLE, SEVERAL = 1_000_000, -1  # parts that a whole path shares; a path that fits several photos
SHOWN = 10  # names listed in one line


def judged(manifest: Manifest, split: str) -> pl.DataFrame:
    """The photos that answers are compared on: the kept ones of a split whose country is known.

    Raises UserError when there are none.
    """
    manifest.require("split", COUNTRY, hint="make it with `whichland data split`")
    rows = manifest.kept.filter(pl.col("split") == split).drop_nulls(COUNTRY)
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos of a known country in split {split!r}")
    return rows if "group" in rows.columns else rows.with_columns(group=pl.lit(None, pl.String))


def read_outside(file: Path, manifest: Manifest, split: str) -> pl.DataFrame:
    """A row with image_id, group, truth and guess for each photo of the split that a table answers.

    A photo is known by its image_id, its path, or as much of the path's end as fits no other photo. Of several rows
    of one photo the one with the highest probability counts. Text that is no country, and coordinates in none, are
    wrong answers; empty cells are no answer. What is left out is counted on stderr. Raises UserError for a table
    without paths or answers, and for one photo with two answers of which neither is more probable.
    """
    photos = judged(manifest, split)
    rows = _matched(_guessed(_read(file), file, manifest), manifest, photos, file)
    answered = _one_each(rows.drop_nulls("guess"), file)
    if answered.is_empty():
        raise UserError(f"{file}: no row answers a photo of split {split!r}, which has {photos.height:,}")
    found = photos.select("image_id", "uri", "group", truth=COUNTRY).join(answered, on="image_id", how="left")
    missing = found.filter(pl.col("guess").is_null())
    if missing.height:
        say(f"{file}: without an answer: {missing.height:,} of {found.height:,} photos, {missing['uri'][0]} first")
    return found.drop_nulls("guess").drop("uri")


def write_template(file: Path, manifest: Manifest, split: str) -> int:
    """Write a table of a split's photos for answers to be filled in, and return how many.

    The photos come in random order and with no more of their paths than tells them apart, as folders are often
    named after countries. Raises UserError where the file is there already.
    """
    if file.exists():
        raise UserError(f"{file} is there already; remove it or choose another name")
    photos, every = judged(manifest, split), _Photos.of(manifest)
    shown = [every.shortest(uri) for uri in photos["uri"]]
    empty = pl.lit(None, pl.String)
    table = pl.DataFrame({"path": shown}).with_columns(country=empty, probability=empty)
    with whole_file(file) as partial:
        table.sample(fraction=1, shuffle=True, seed=0).write_csv(partial)
    return photos.height


def _read(file: Path) -> pl.DataFrame:
    """The columns of a table that play a role, as text, and `row`, counted from 1."""
    text = read_text(file)
    asked = {role: [*WORDS["answers"].get(role, ()), *ROLES[role]] for role in READ}
    found = columns.find_columns(text, asked | {"probability": WORDS["answers"]["probability"]})
    has = f"its columns are {', '.join(text.columns[:12])}"
    if not {"path", "image_id"} & set(found):
        raise UserError(f"{file}: no column of paths (path, file_name, …); {has}")
    if COUNTRY not in found and not {"lat", "lon"} <= set(found) and "place" not in found:
        raise UserError(f"{file}: neither a column of countries nor latitude and longitude; {has}")
    say(f"{file}: {', '.join(f'{role} from {name!r}' for role, name in found.items())}")
    rows = text.select(pl.col(name).alias(role) for role, name in found.items())
    return columns.blank_to_null(rows).with_row_index("row", offset=1)


def _guessed(rows: pl.DataFrame, file: Path, manifest: Manifest) -> pl.DataFrame:
    """Add `guess`: the code of the country named, else of that at the coordinates; null where neither is given.

    Countries are counted as the manifest's are, see `geo.territories`.
    """
    territories = (manifest.last("geocode") or {}).get("territories", ISO)
    if COUNTRY in rows.columns:
        rows = rows.with_columns(guess=_named(rows[COUNTRY], file, folded(territories)))
    else:
        rows = rows.with_columns(guess=pl.lit(None, pl.String))
    rows = columns.degrees(rows, str(file))
    if not {"lat", "lon"} <= set(rows.columns):
        return rows
    from whichland.geo.borders import country_of  # the polygons are wanted for this alone

    open_rows = rows.filter(pl.col("guess").is_null()).drop_nulls("lat")
    codes = country_of(open_rows["lat"].to_numpy(), open_rows["lon"].to_numpy(), territories=territories)
    if lost := int((codes == NO_COUNTRY).sum()):
        say(f"{file}: {lost:,} answers have coordinates in no country and count as wrong")
    placed = open_rows.select("row", placed=pl.Series(codes.tolist(), dtype=pl.String))
    return rows.join(placed, on="row", how="left").with_columns(guess=pl.coalesce("guess", "placed"))


def _named(names: pl.Series, file: Path, fold: Mapping[str, str]) -> pl.Series:
    """The code of each country's name; NO_COUNTRY for what is none, and null for null."""
    wanted = names.drop_nulls().unique(maintain_order=True)
    codes = columns.country_codes(wanted, where=str(file), skip_unknown=True)
    unknown = [name for name in wanted if name not in codes]
    if unknown:
        listed = ", ".join(map(columns.guessed, unknown[:SHOWN])) + (" …" if len(unknown) > SHOWN else "")
        say(f"{file}: {names.is_in(unknown).sum():,} answers name no country and count as wrong: {listed}")
    known = {name: fold.get(code, code) for name, code in codes.items()} | dict.fromkeys(unknown, NO_COUNTRY)
    return names.replace_strict(known, default=None, return_dtype=pl.String)


def _matched(rows: pl.DataFrame, manifest: Manifest, photos: pl.DataFrame, file: Path) -> pl.DataFrame:
    """The rows of photos of the split, with their `image_id`; what is left out is counted."""
    every, folder = _Photos.of(manifest), absolute(file).parent
    names = rows.select(pl.coalesce(name for name in ("image_id", "path") if name in rows.columns)).to_series()
    paths = rows["path"] if "path" in rows.columns else names
    found = [every.find(name, path, folder) for name, path in zip(names, paths, strict=True)]
    rows = rows.with_columns(
        name=names,
        image_id=pl.Series([match.image_id for match in found], dtype=pl.String),
        shared=pl.Series([match.shared for match in found], dtype=pl.Int64),
    )
    none = rows["image_id"].is_null()
    # such rows are of other photos of the same name
    less = ~none & rows.select(pl.col("shared") < pl.col("shared").max().over("image_id")).to_series()
    elsewhere = ~none & ~less & ~rows["image_id"].is_in(photos["image_id"].implode())
    left_out = {
        "of photos of another split, or left out of it": elsewhere,
        "with less of the path of a photo than another row": less,
        "with several photos that fit (write more of the path)": rows["shared"] == SEVERAL,
        "of no photo of the manifest": none & (rows["shared"] != SEVERAL),
    }
    for why, which in left_out.items():
        if which.any():
            row, name = rows.filter(which).select("row", "name").row(0)
            say(f"{file}: {counted(int(which.sum()), 'row')} {why}, row {row} first: {name}")
    return rows.filter(~none & ~less & ~elsewhere)


def _one_each(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """One guess a photo: the most probable. Raises UserError where several are and no probability tells them apart."""
    if "probability" in rows.columns:
        text = pl.col("probability").str.strip_chars("% ").str.replace(",", ".")
        rows = rows.with_columns(probability=text.cast(pl.Float64, strict=False).fill_nan(None))
    else:
        rows = rows.with_columns(probability=pl.lit(None, pl.Float64))
    rows = rows.with_columns(probability=pl.col("probability").fill_null(-1.0))
    first = rows.filter(pl.col("probability") == pl.col("probability").max().over("image_id"))
    answers = first.unique(["image_id", "guess"], keep="first", maintain_order=True)
    several = answers.filter(pl.col("image_id").is_duplicated())
    if several.height:
        name = several["name"][0]
        both = several.filter(pl.col("image_id") == several["image_id"][0])["row"].to_list()
        raise UserError(
            f"{file}: two answers to {counted(several['image_id'].n_unique(), 'photo')}, "
            f"rows {both[0]} and {both[1]} first ({name}): keep one of them, or state a probability for each"
        )
    if rows.height > answers.height:
        count = rows.height - answers.height
        say(f"{file}: {counted(count, 'row repeats', 'rows repeat')} a photo; of each the most probable answer counts")
    return answers.select("image_id", "guess")


class _Match(NamedTuple):
    """The photo that a row is of; `shared` counts the parts of the path that fit; `SEVERAL` photos fit it equally."""

    image_id: str | None = None
    shared: int = 0


class _Photos(NamedTuple):
    """All photos of a manifest, by what they may be called."""

    exact: dict[str, str]  # image_id of each image_id and uri
    by_name: dict[str, list[tuple[list[str], str]]]  # by the last part of the uri: its parts and the image_id

    @classmethod
    def of(cls, manifest: Manifest) -> "_Photos":
        rows = manifest.frame.select("image_id", "uri").rows()
        by_name: dict[str, list[tuple[list[str], str]]] = defaultdict(list)
        for image_id, uri in rows:
            parts = PARTS.split(uri)
            by_name[parts[-1]].append((parts, image_id))
        exact = {uri: image_id for image_id, uri in rows} | {image_id: image_id for image_id, _ in rows}
        return cls(exact, by_name)

    def find(self, name: str | None, path: str | None, folder: Path) -> _Match:
        """The photo of an image_id, or of a path that counts from `folder` or ends as the photo's does."""
        if name is None:
            return _Match()
        for exact in (name, path or name, str(absolute(folder / (path or name)))):
            if exact in self.exact:
                return _Match(self.exact[exact], WHOLE)
        parts = [part for part in PARTS.split(path or name) if part != "."]
        fits = [(_shared(own, parts), image_id) for own, image_id in self.by_name.get(parts[-1], ())]
        most = max((shared for shared, _ in fits), default=0)
        best = [image_id for shared, image_id in fits if shared == most]
        return _Match(best[0], most) if len(best) == 1 else _Match(None, SEVERAL if best else 0)

    def shortest(self, uri: str) -> str:
        """The shortest end of a uri that is the end of no other."""
        parts = PARTS.split(uri)
        others = [_shared(own, parts) for own, _ in self.by_name[parts[-1]] if own != parts]
        starts = [0, *(sign.end() for sign in PARTS.finditer(uri))]
        return uri[starts[-min(max(others, default=0) + 1, len(starts))] :]


def _shared(one: list[str], other: list[str]) -> int:
    """How many parts at the end of two paths are the same."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
