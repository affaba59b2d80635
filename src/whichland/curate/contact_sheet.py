"""Contact sheets: what each drop reason took, and what it just kept, so that a person can look before believing.

For every reason there is a picture `dropped-REASON.jpg`, for every threshold also `kept-REASON.jpg`; `index.html`
shows them all and needs no other file. Borderline photos come first, as there one can judge the threshold.
"""

import base64
import io
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont, ImageOps

from whichland.curate.clean import NEAR_TONE, NEEDED, REASONS, THRESHOLDS, CleanConfig, Threshold, is_placeholder
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.images.decode import ImageError, load
from whichland.manifest import Manifest, credit, with_empty
from whichland.progress import track
from whichland.templates import templates_beside
from whichland.whole_file import check_writable, whole_file

PER_SHEET = 24
LISTED = 200  # unreadable ones, which are text
SAMPLED = 400  # near-duplicates whose better copy is looked for

GAP, LINE = 8, 15
THUMBNAIL = (240, 180)  # pixels, at most
WIDE = (2 * THUMBNAIL[0] + GAP, THUMBNAIL[1])  # of a picture more than twice as wide as high
COLUMNS = 6
PAPER, INK, SOFT, FRAME = "#ffffff", "#1a1a1a", "#666666", "#e4e4e4"

RULES = {
    "unreadable": "no pixels could be had",
    "placeholder": "one picture in many countries or sequences",
    "no_country": "neither a label nor coordinates name a country",
    "review": "a person dropped it",
    "conflicting_label": "the same bytes under several countries: it is not known which is right",
    "duplicate": "the bytes of another row, which is kept",
    "near_duplicate": "nearly the same as a better photo of its country, which is kept and stands beside it",
}


@dataclass(kw_only=True)
class Example:
    """One photo on a sheet."""

    image_id: str
    uri: str
    country: str
    value: str  # what the reason looks at
    credit: str  # whom its licence wants named
    picture: Image.Image | None = None
    trouble: str = ""  # why there is no picture

    def load(self) -> None:
        """Decode the thumbnail; what cannot be read any more says so in its place."""
        try:
            picture = Image.fromarray(load(self.uri, short_side=min(THUMBNAIL)))
        except ImageError as error:
            self.trouble = str(error)
            return
        picture.thumbnail(WIDE if picture.width > 2 * picture.height else THUMBNAIL, Image.Resampling.BICUBIC)
        self.picture = picture

    @property
    def wide(self) -> bool:
        """Whether its picture takes the room of two."""
        return self.picture is not None and self.picture.width > THUMBNAIL[0]

    @property
    def inline(self) -> str:
        """Its picture as the address of an `<img>`."""
        assert self.picture is not None
        buffer = io.BytesIO()
        self.picture.save(buffer, format="JPEG", quality=80)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The examples of one reason: what it took, or what it just kept."""

    reason: str
    name: str  # of its file, and its anchor on the page
    title: str  # what it shows, and of how many
    rule: str  # the reason in words
    rows: int  # of the table, of which the examples are a few
    examples: list[Example]


def contact_sheets(manifest: Manifest, folder: str | Path, *, per_sheet: int = PER_SHEET) -> Path:
    """Write the sheets of a cleaned manifest into `folder`; return the path of its index.html.

    Raises UserError when the manifest has not been cleaned.
    """
    manifest.require("drop_reason", hint="run `whichland data clean` first")
    folder = Path(folder)
    check_writable(folder)
    found = sheets(manifest, per_sheet)
    for made in track(found, description="drawing sheets", unit="sheets"):
        for example in made.examples if made.reason != "unreadable" else ():
            example.load()
    for reason, kind in product(REASONS, ("dropped", "kept")):  # sheets that only an earlier run has would mislead
        (folder / f"{kind}-{reason}.jpg").unlink(missing_ok=True)
    for made in found:
        if any(example.picture for example in made.examples):
            with whole_file(folder / f"{made.name}.jpg") as partial:
                sheet(made).save(partial, format="JPEG", quality=85)
    index = folder / "index.html"
    template = templates_beside(__file__).get_template("contact_sheet.html.j2")
    with whole_file(index) as partial:
        page = template.render(sheets=found, rows=len(manifest), kept=manifest.kept.height)
        partial.write_text(page, encoding="utf-8")
    return index


def sheets(manifest: Manifest, per_sheet: int = PER_SHEET) -> list[Sheet]:
    """Choose the examples of every reason that dropped a row, and of every threshold that can be judged.

    Each reason's dropped and kept sheets follow each other; thresholds that took nothing come last.
    """
    settings = manifest.last("clean")
    if settings is None:
        raise UserError("the manifest's history has no cleaning; run `whichland data clean` on it")
    # an older version had other settings
    config = CleanConfig(**{name: settings[name] for name in CleanConfig.__dataclass_fields__ if name in settings})
    frame = with_empty(manifest.frame, *NEEDED)
    counts = dict(frame["drop_reason"].drop_nulls().value_counts().iter_rows())
    made = []
    for reason in [*REASONS, *sorted(set(counts) - set(REASONS))]:
        if reason in counts:
            rows = _dropped(frame, reason, config, per_sheet)
            made.append(_sheet(rows, reason, "dropped", counts[reason], config))
        if reason in THRESHOLDS:
            rows, count = _kept(frame, THRESHOLDS[reason], per_sheet)
            if count:
                made.append(_sheet(rows, reason, "kept", count, config))
    return sorted(made, key=lambda sheet: sheet.reason not in counts)


def _dropped(frame: pl.DataFrame, reason: str, config: CleanConfig, count: int) -> pl.DataFrame:
    """The examples of what a reason took, with `_value` in words, the borderline first."""
    taken = pl.col("drop_reason") == reason
    if reason in THRESHOLDS:
        return _nearest(frame, taken, THRESHOLDS[reason], count, from_above=THRESHOLDS[reason].above)
    rows = frame.filter(taken)
    if reason == "unreadable":
        return rows.sort("image_id").head(LISTED).with_columns(_value=pl.col("unreadable"))
    if reason == "placeholder":
        return _placeholders(frame, rows, config).head(count)
    if reason in ("duplicate", "conflicting_label"):
        return _same_bytes(frame, rows).head(count)
    if reason == "near_duplicate":
        return _beside_their_better(frame, rows, count)
    return rows.sort("image_id").head(count).with_columns(_value=pl.lit(""))


def _kept(frame: pl.DataFrame, rule: Threshold, count: int) -> tuple[pl.DataFrame, int]:
    """The kept rows that a threshold came nearest to, the nearest first, and how many it could have taken."""
    could = pl.col("drop_reason").is_null() & rule.only & rule.value.cast(pl.Float64).is_finite()
    nearest = _nearest(frame, could, rule, count, from_above=not rule.above)
    return nearest, frame.select(could.fill_null(False).sum()).item()


def _nearest(frame: pl.DataFrame, which: pl.Expr, rule: Threshold, count: int, *, from_above: bool) -> pl.DataFrame:
    """The rows nearest to a threshold, with `_value` in words; `from_above`: theirs lie above it."""
    order = (1 if from_above else -1) * pl.col("_number"), pl.col("image_id")
    near = frame.select("image_id", _number=rule.value.cast(pl.Float64), _which=which).with_row_index()
    near = near.filter("_which").bottom_k(count, by=order).sort(order)
    words = pl.Series("_value", [f"{value:.4g} {rule.unit}" for value in near["_number"]], dtype=pl.String)
    return frame[near["index"]].with_columns(words)


def _placeholders(frame: pl.DataFrame, rows: pl.DataFrame, config: CleanConfig) -> pl.DataFrame:
    """One row for each picture, the one in the fewest countries first."""
    spread = (
        frame.filter(pl.Series(is_placeholder(frame, config)))
        .group_by("phash")
        .agg(pl.len(), _countries=pl.col("country").n_unique(), _sequences=pl.col("sequence").n_unique())
        .with_columns(_value=pl.format("{} times, {} countries", "len", "_countries"))
    )
    one = rows.sort("image_id").unique("phash", keep="first", maintain_order=True)
    return one.join(spread, on="phash").sort("_countries", "_sequences", "image_id")


def _same_bytes(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Copies side by side, each with the countries that its bytes are labelled with."""
    labels = pl.col("country").drop_nulls().unique().sort().str.join(", ")
    copies = frame.filter(pl.col("sha256").is_in(rows["sha256"].unique().implode()))
    named = copies.group_by("sha256").agg(_value=pl.format("{} copies: {}", pl.len(), labels))
    return rows.join(named, on="sha256", how="left").sort("sha256", "image_id")


def _beside_their_better(frame: pl.DataFrame, rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Pairs: a near-duplicate and the kept photo nearest to it; the farthest pairs first."""
    sampled = rows.sort("sha256").head(SAMPLED)
    kept = frame.filter(pl.col("drop_reason").is_null(), pl.col("country").is_in(sampled["country"].implode()))
    by_country = {key[0]: part for key, part in kept.partition_by("country", as_dict=True).items()}
    pairs = []
    for at, row in enumerate(sampled.iter_rows(named=True)):
        others = by_country.get(row["country"], kept.head(0)).filter(
            *((pl.col(tone) - row[tone]).abs() <= NEAR_TONE for tone in ("brightness", "contrast"))
        )
        if others.height:
            apart = np.bitwise_count(others["phash"].to_numpy() ^ np.uint64(row["phash"]))
            pairs.append((int(apart.min()), at, others[int(apart.argmin())]))
    shown = []
    for bits, at, better in sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[: count // 2]:
        shown.append(sampled[at].with_columns(_value=pl.lit(f"left out, {bits} bits from the next")))
        shown.append(better.with_columns(_value=pl.lit("kept")))
    return pl.concat(shown) if shown else rows.head(0).with_columns(_value=pl.lit(""))


def _sheet(rows: pl.DataFrame, reason: str, kind: str, count: int, config: CleanConfig) -> Sheet:
    examples = []
    for row in rows.iter_rows(named=True):
        country, stated = row["country"], row.get("label_country")
        named = (country_name(country) if country else "no country") + (
            f", label {country_name(stated)}" if stated and stated != country else ""
        )
        examples.append(
            Example(
                image_id=row["image_id"], uri=row["uri"], country=named, value=row["_value"] or "", credit=credit(row)
            )
        )
    words, title = RULES.get(reason, ""), f"{reason}: {count:,} dropped"
    if reason in THRESHOLDS:
        rule = THRESHOLDS[reason]
        side = {"dropped": ("below", "above"), "kept": ("at least", "at most")}[kind][rule.above]
        words = f"{side} {getattr(config, rule.setting):g} {rule.unit} (--{rule.setting.replace('_', '-')})"
    if kind == "kept":
        title = f"just kept: {reason}, the nearest of {count:,}"
    return Sheet(reason=reason, name=f"{kind}-{reason}", title=title, rule=words, rows=count, examples=examples)


def sheet(made: Sheet) -> Image.Image:
    """Draw a sheet, each thumbnail with its value, country and id: six a row, three where most are panoramas."""
    pictures = [example.picture for example in made.examples if example.picture is not None]
    wide = sum(example.wide for example in made.examples) * 2 > len(pictures)
    box = (WIDE if wide else THUMBNAIL)[0], max(picture.height for picture in pictures)
    width, height = box[0] + GAP, box[1] + 3 * LINE + GAP
    columns = min(COLUMNS // 2 if wide else COLUMNS, len(made.examples))
    rows = -(-len(made.examples) // columns)
    top = 2 * LINE + 2 * GAP
    image = Image.new("RGB", (max(columns, 2) * width + GAP, top + rows * height), PAPER)
    draw = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(17), ImageFont.load_default(12)
    draw.text((GAP, GAP), made.title, INK, large)
    draw.text((GAP, GAP + LINE + 6), made.rule, SOFT, small)
    for at, example in enumerate(made.examples):
        left, above = GAP + at % columns * width, top + at // columns * height
        draw.rectangle((left, above, left + box[0] - 1, above + box[1] - 1), FRAME)
        if example.picture is not None:
            picture = ImageOps.contain(example.picture, box)
            space = [(whole - side) // 2 for whole, side in zip(box, picture.size, strict=True)]
            image.paste(picture, (left + space[0], above + space[1]))
        else:
            draw.text((left + 4, above + 4), _fitted(example.trouble, small, box[0] - 8), INK, small)
        lines = ((example.value, INK), (example.country, SOFT), (example.image_id, SOFT))
        for line, (text, colour) in enumerate(lines):
            draw.text((left, above + box[1] + 1 + line * LINE), _fitted(text, small, box[0]), colour, small)
    return image


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text at its front until it fits under a thumbnail: the end of an id says more."""
    text = " ".join(text.split())
    fitting = (cut for cut in (text, *("…" + text[at:] for at in range(1, len(text)))) if font.getlength(cut) <= width)
    return next(fitting, "…")
