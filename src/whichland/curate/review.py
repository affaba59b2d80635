"""What a person decided on single photos, as columns of the manifest that the other steps obey.

`review` says what was decided, `review_country` which country was confirmed or put in place, `review_was` which one
stood there before anybody looked. `geocode` and `clean` keep to them, so they hold when the table is made again.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.manifest import Manifest, with_empty
from whichland.sources.columns import blank_to_null, country_codes, say
from whichland.sources.table import read_text
from whichland.whole_file import file_sha256

CONFIRMED, CORRECTED, DROPPED = DECISIONS = ("confirmed", "corrected", "dropped")
REVIEWED = ("review", "review_country", "review_was")
COLUMNS = ("image_id", "decision", "country", "was")  # of a file of decisions
REASON = "review"  # why a photo that a person dropped is left out


def corrected(frame: pl.DataFrame) -> pl.DataFrame:
    """With the countries that a person has corrected in `country`."""
    if "review_country" not in frame.columns:
        return frame
    theirs = (pl.col("review") == CORRECTED).fill_null(value=False)
    return frame.with_columns(country=pl.when(theirs).then("review_country").otherwise("country"))


def apply_decisions(manifest: Manifest, file: Path) -> Manifest:
    """Write a file of decisions into the manifest: a row with image_id, decision, country and was for each photo.

    A corrected photo gets its country, a dropped one the `drop_reason` review; both leave `weight` and `rank` to be
    made again, and a dropped one its split and group. Decisions made before stay unless a photo is in the file.
    Raises UserError for decisions that cannot be read, and where a photo has another country by now than `was`.
    """
    manifest.require("country", hint="make it with `whichland data prepare`")
    asked, frame = _read(file), with_empty(manifest.frame, *REVIEWED, "drop_reason")
    rows = frame.select("image_id", now="country").join(asked, on="image_id", how="inner")
    if rows.is_empty():
        raise UserError(f"{file}: no decision is of a photo of this manifest")
    if asked.height > rows.height:
        say(f"{file}: decisions of photos that the manifest does not have: {asked.height - rows.height:,}")
    changed = rows.filter(pl.col("now").ne_missing(pl.col("was")) & pl.col("now").ne_missing(pl.col("country")))
    if changed.height:
        name, now, was = changed.select("image_id", "now", "was").row(0)
        raise UserError(f"{file}: {name} has the country {now} by now and not {was}: make the page anew")
    frame = frame.join(rows.select("image_id", "decision", to="country"), "image_id", "left", maintain_order="left")
    new, dropped = pl.col("decision").is_not_null(), pl.col("decision") == DROPPED
    kept = {DROPPED: pl.lit(None, pl.String), CONFIRMED: pl.col("country"), CORRECTED: pl.col("to")}
    country = pl.coalesce(pl.when(pl.col("decision") == name).then(value) for name, value in kept.items())
    lifted = pl.when(new & (pl.col("drop_reason") == REASON)).then(None).otherwise("drop_reason")
    frame = frame.with_columns(
        review=pl.coalesce("decision", "review"),
        review_country=pl.when(new).then(country).otherwise("review_country"),
        review_was=pl.coalesce("review_was", pl.when(new).then("country")),
        drop_reason=pl.when(dropped).then(pl.lit(REASON)).otherwise(lifted),
    )
    frame = frame.with_columns(pl.when(~dropped.fill_null(False)).then(name).alias(name) for name in _places(frame))
    counts = {name: rows.filter(pl.col("decision") == name).height for name in DECISIONS}
    made = corrected(frame.drop("decision", "to", "weight", "rank", strict=False))
    return manifest.with_step("review", made, decisions=file_sha256(file), **counts)


def _places(frame: pl.DataFrame) -> list[str]:
    return [name for name in ("split", "group") if name in frame.columns]


def _read(file: Path) -> pl.DataFrame:
    """The decisions of a file, countries as codes."""
    text = read_text(file)
    if missing := [name for name in COLUMNS if name not in text.columns]:
        raise UserError(
            f"{file}: no column {', '.join(missing)}; the page of `whichland data review` saves such a file"
        )
    was = blank_to_null(text.select(country="was")).rename({"country": "was"})  # of countries, NA is one
    rows = blank_to_null(text.select(COLUMNS[:3])).with_columns(was).with_row_index("row", offset=1)
    wrong = {
        "has no image_id": pl.col("image_id").is_null(),
        f"has no decision of {', '.join(DECISIONS)}": ~pl.col("decision").is_in(DECISIONS).fill_null(value=False),
        "corrects to no country": (pl.col("decision") == CORRECTED) & pl.col("country").is_null(),
        "decides on a photo that another row decides on, too": pl.col("image_id").is_duplicated(),
    }
    for why, which in wrong.items():
        if (found := rows.filter(which)).height:
            raise UserError(f"{file}: row {found['row'][0]} {why} ({found.height:,} such rows)")
    if rows.is_empty():
        raise UserError(f"{file}: no decisions")
    names = pl.concat([rows["country"], rows["was"]]).drop_nulls().unique(maintain_order=True)
    codes = country_codes(names, where=str(file), skip_unknown=False)
    return rows.with_columns(
        pl.col(name).replace_strict(codes, default=None, return_dtype=pl.String) for name in ("country", "was")
    )
