"""Give bad, misplaced and repeated images a reason to be left out; no row is deleted."""

from dataclasses import asdict, dataclass
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
from annotated_types import Interval
from numpy.typing import NDArray

from whichland.config import AT_LEAST_0, TOML_ONLY, Config
from whichland.curate.pairs import Rows, connected_components, near_duplicate_pairs
from whichland.curate.review import DROPPED, REASON, corrected
from whichland.errors import UserError
from whichland.manifest import Manifest, sequence_key, with_empty

OWN_FAULTS = (
    *("unreadable", "tiny", "dark", "blank", "placeholder", "blurred", "low_information"),
    *("no_country", "wrong_country", "off_street", REASON),
)
REPEATS = ("conflicting_label", "duplicate", "near_duplicate")
REASONS = (*OWN_FAULTS, *REPEATS)  # a row gets the first that is true of it

PLACEHOLDER_TONE = 0.01  # brightness and contrast of one picture, encoded anew, stay within it
NEAR_TONE = 0.01  # as `split` has it


@dataclass(frozen=True, kw_only=True)
class CleanConfig(Config):
    """What makes an image too bad to learn from. The defaults hardly touch real street photos."""

    group = "clean"

    min_side: Annotated[int, "shortest side in pixels; a smaller image is `tiny`"] = 64
    min_brightness: Annotated[float, "mean luma, 0 to 1; below it an image is `dark`"] = 0.06
    min_contrast: Annotated[float, "standard deviation of luma, 0 to 1; below it an image is `blank`"] = 0.02
    min_sharpness: Annotated[float, "variance of the Laplacian at 160 px; below it an image is `blurred`"] = 10.0
    min_entropy: Annotated[float, "bits of luma, 0 to 8; below it an image is `low_information`"] = 3.5
    min_street: Annotated[float, "score of `whichland data score`, 0 to 1; below it an image is `off_street`"] = 0.35
    placeholder_countries: Annotated[
        int, "one picture under so many countries is a `placeholder`; 0: do not look", TOML_ONLY
    ] = 3
    placeholder_sequences: Annotated[int, "…or in so many sequences; 0: do not look", TOML_ONLY] = 10
    border_tolerance: Annotated[
        float, "a label that disagrees with the coordinates is a `wrong_country` farther from a border, km", AT_LEAST_0
    ] = 1.0
    drop_duplicates: Annotated[bool, "keep only one of the rows that hold the same bytes"] = True
    drop_near_duplicates: Annotated[bool, "of images of one country that are nearly the same, keep only the best"] = (
        False
    )
    near_duplicate_bits: Annotated[
        int, "…whose hashes are at most so many of 64 bits apart", TOML_ONLY, Interval(ge=0, le=32)
    ] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        for least in (self.placeholder_countries, self.placeholder_sequences):
            if least < 0 or least == 1:
                raise UserError(
                    f"placeholder {least}: every picture has one country and sequence; give 2 or more, or 0"
                )


class Threshold(NamedTuple):
    """A reason that is one number beyond a setting."""

    setting: str  # the field of `CleanConfig`
    value: pl.Expr
    unit: str
    needs: tuple[str, ...]  # columns
    above: bool = False  # beyond is above the setting, else below
    only: pl.Expr = pl.lit(True)  # the rows it can be true of

    def beyond(self, config: CleanConfig) -> pl.Expr:
        """The rows of which the reason is true; null where the value is not known."""
        limit: float = getattr(config, self.setting)
        return self.only & (self.value > limit if self.above else self.value < limit)


THRESHOLDS = {
    "tiny": Threshold("min_side", pl.min_horizontal("width", "height"), "px", ("width", "height")),
    "dark": Threshold("min_brightness", pl.col("brightness"), "brightness", ("brightness",)),
    "blank": Threshold("min_contrast", pl.col("contrast"), "contrast", ("contrast",)),
    "blurred": Threshold("min_sharpness", pl.col("sharpness"), "sharpness", ("sharpness",)),
    "low_information": Threshold("min_entropy", pl.col("entropy"), "bits", ("entropy",)),
    "off_street": Threshold("min_street", pl.col("street"), "street score", ("street",)),
    "wrong_country": Threshold(
        "border_tolerance",
        pl.col("border_km").fill_null(float("inf")),
        "km from a border",
        ("border_km", "country_conflict"),
        above=True,
        only=pl.col("country_conflict").fill_null(False),
    ),
}
NEEDED = (
    "unreadable",
    "review",
    *sorted({name for rule in THRESHOLDS.values() for name in rule.needs}),
)  # by the rules
READ = (
    *("image_id", "source", "sequence", "sha256", "phash", "country", "lat", "lon", "review_country", *NEEDED),
    *("drop_reason", "group", "split", "weight", "rank"),
)


def clean(manifest: Manifest, config: CleanConfig | None = None) -> Manifest:
    """Write `drop_reason`, afresh for all rows; null means the row is kept.

    A row gets the first of `REASONS` that is true of it, and the country that a person corrected it to. What no
    step has written yet (`entropy`, `street`, `country_conflict`) speaks against no row. Of rows with the same
    bytes (`sha256`) one is kept, the others are `duplicate`: a row with a sequence goes before one without, then
    one with coordinates, then the smallest image_id. Where they name different countries none is kept:
    `conflicting_label`. Near-duplicates are kept unless asked for; `split` holds them together. `weight` and `rank`
    of an earlier run are removed, and dropped rows leave their split, and their group unless they are repetitions.
    Raises UserError when the manifest, or a part of it, is not measured.
    """
    config = config or CleanConfig()
    manifest.require("sha256", "country", hint="run `whichland data measure` first")
    manifest.require("sequence", "lat", "lon", hint="a table of your own needs it, empty where it is not known")
    # neither a hash nor a reason for its absence is written, as after a merge
    waiting = with_empty(manifest.frame, "unreadable").filter(
        pl.col("sha256").is_null() & pl.col("unreadable").is_null()
    )
    if not waiting.is_empty():
        raise UserError(
            f"not measured: {waiting.height:,} of {len(manifest):,} photos, {waiting['image_id'][0]} first; run "
            "`whichland data measure` first"
        )
    frame = corrected(manifest.frame.drop("weight", "rank", strict=False))
    frame = frame.with_columns(own_fault(frame, config).alias("drop_reason"))
    if config.drop_duplicates:
        frame = _with_duplicates(frame)
    if config.drop_near_duplicates:
        frame = _with_near_duplicates(frame, config.near_duplicate_bits)
    dropped = pl.col("drop_reason").is_not_null()
    # A repetition keeps its group for `split`: a model may have seen its bytes.
    stale = {"split": dropped, "group": dropped & ~pl.col("drop_reason").is_in(REPEATS[1:])}
    frame = frame.with_columns(
        pl.when(~gone).then(pl.col(name)).alias(name) for name, gone in stale.items() if name in frame.columns
    )
    return manifest.with_step("clean", frame, **asdict(config))


def own_fault(frame: pl.DataFrame, config: CleanConfig) -> pl.Series:
    """The first of `OWN_FAULTS` that is true of each row, null where none is."""
    frame = with_empty(frame, *NEEDED)
    faults: dict[str, pl.Expr] = {
        "unreadable": pl.col("unreadable").is_not_null() | pl.col("sha256").is_null(),
        "placeholder": pl.lit(pl.Series(is_placeholder(frame, config))),
        "no_country": pl.col("country").is_null(),
        **{reason: rule.beyond(config) for reason, rule in THRESHOLDS.items()},
        REASON: pl.col("review") == DROPPED,
    }
    numbered = enumerate(OWN_FAULTS)  # a byte a row and fault: all are there at once
    first = pl.coalesce(pl.when(faults[reason]).then(pl.lit(number, pl.UInt8)) for number, reason in numbered)
    return pl.Series("drop_reason", OWN_FAULTS).gather(frame.select(first).to_series())


def is_placeholder(frame: pl.DataFrame, config: CleanConfig) -> NDArray[np.bool_]:
    """Which rows show a picture in place of a missing one, such as "no imagery here".

    No street is in three countries: a picture (equal `phash`, brightness and contrast within
    `PLACEHOLDER_TONE` of the copies' median) that stands under `placeholder_countries` countries or in
    `placeholder_sequences` sequences is no photo of any of them.
    """
    most = {"country": config.placeholder_countries, "sequence": config.placeholder_sequences}
    most = {name: count for name, count in most.items() if count}
    found = np.zeros(frame.height, dtype=np.bool_)
    if not most:
        return found
    tones = ("brightness", "contrast")
    rows = (
        frame.select("phash", *tones, "country", sequence_key().alias("sequence")).with_row_index().drop_nulls("phash")
    )
    often = rows["phash"].value_counts().filter(pl.col("count") >= min(most.values()))
    same = rows.join(often, on="phash", how="semi").filter(
        *((pl.col(tone) - pl.col(tone).median().over("phash")).abs() <= PLACEHOLDER_TONE for tone in tones)
    )
    spread = [pl.col(name).drop_nulls().n_unique().over("phash") >= count for name, count in most.items()]
    found[same.filter(pl.any_horizontal(spread))["index"].to_numpy()] = True
    return found


def _with_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop all but one of the rows of equal bytes that have no fault of their own."""
    copies = pl.int_range(pl.len()).over(
        "sha256", order_by=[pl.col("sequence").is_null(), pl.col("lat").is_null(), "image_id"]
    )
    conflict = pl.col("country").n_unique().over("sha256") > 1
    reason = pl.when(conflict).then(pl.lit("conflicting_label")).when(copies > 0).then(pl.lit("duplicate"))
    good = (frame["drop_reason"].is_null() & frame["sha256"].is_duplicated()).arg_true()
    repeated = frame.select("sha256", "sequence", "lat", "image_id", "country")[good].select(reason)
    return frame.with_columns(frame["drop_reason"].scatter(good, repeated.to_series()))


def _with_near_duplicates(frame: pl.DataFrame, bits: int) -> pl.DataFrame:
    """Drop each row that is nearly the same as a better one of its country that is kept."""
    kept = (
        frame.with_row_index("_row")
        .filter(pl.col("drop_reason").is_null())
        .sort(
            pl.col("sequence").is_null(),
            pl.col("lat").is_null(),
            -(pl.col("width") * pl.col("height")),
            -pl.col("sharpness"),
            "image_id",
        )
    )
    worse = [row for _, rows in kept.group_by("country") for row in _beaten(rows, bits)]
    return frame.with_columns(frame["drop_reason"].scatter(worse, "near_duplicate"))


def _beaten(rows: pl.DataFrame, bits: int) -> Rows:
    """The `_row` of those that have a better one nearby that is kept; `rows` stand best first.

    Of each connected component the best is kept and what is near to it goes; what hung together with it through
    others alone is compared again. So of a slow drive, a chain of near-duplicates, more than one photo stays.
    """
    phash, tones = rows["phash"].to_numpy(), rows.select("brightness", "contrast").to_numpy()
    beaten = np.zeros(rows.height, dtype=np.bool_)
    pairs = near_duplicate_pairs(phash, bits, tones, NEAR_TONE)
    while pairs.size:
        best = connected_components(rows.height, pairs)
        tied = np.unique(pairs)
        near = np.bitwise_count(phash[tied] ^ phash[best[tied]]) <= bits
        near &= np.all(np.abs(tones[tied] - tones[best[tied]]) <= NEAR_TONE, axis=1)
        beaten[tied[near & (tied != best[tied])]] = True
        undecided = np.zeros(rows.height, dtype=np.bool_)
        undecided[tied[~near]] = True
        pairs = pairs[undecided[pairs].all(axis=1)]
    return rows["_row"].to_numpy()[beaten].astype(np.int64)
