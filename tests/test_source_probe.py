import io
import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageEnhance

import forked
from curated import measured, photo
from whichland import manifest
from whichland.curate.geometry import HarmoniseConfig
from whichland.curate.measure import measure
from whichland.curate.merge import harmonise, merge
from whichland.errors import UserError
from whichland.evaluation.source_probe import HEADER, ProbeConfig, Reading, SourceProbe, source_probe
from whichland.images.decode import ImageError
from whichland.images.file_facts import _subsampling, file_facts
from whichland.manifest import Manifest
from whichland.sources.columns import complete

COUNT = 60


def stored(folder: Path, source: str, size: tuple[int, int], **how: object) -> Manifest:
    """The same pictures as every other source has, stored in its own way; `sequence` ties the copies."""
    rows = []
    for seed in range(COUNT):
        path = folder / f"{source}{seed}.jpg"
        picture = ImageEnhance.Contrast(photo(seed, size=size)).enhance(0.1 + 1.9 * (seed * 0.618 % 1))
        picture.save(path, **how)  # from plain to busy, as photos are
        rows.append((f"{source}/{seed}", str(path), source, str(seed), "FR"))
    names = ["image_id", "uri", "source", "sequence", "label_country"]
    frame = complete(pl.DataFrame(rows, schema=names, orient="row"))
    return measure(Manifest(frame.head(0)).with_step("ingest", frame), workers=1, progress=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("pair")
    good = stored(folder, "good", (128, 96), quality=95, subsampling=0)
    poor = stored(folder, "poor", (128, 96), quality=70, progressive=True)
    return merge([good, poor])


def by_facts(found: SourceProbe) -> dict[str, Reading]:
    return {reading.facts: reading for reading in found.readings}


def test_the_source_is_told_by_its_files_until_they_are_harmonised(pair: Manifest, tmp_path: Path) -> None:
    before = source_probe(pair, progress=False)
    assert before.sources == {"good": COUNT, "poor": COUNT}
    assert before.groups == COUNT
    header = by_facts(before)["header"]
    assert (header.balanced_accuracy, header.accuracy, header.chance, header.majority) == (1.0, 1.0, 0.5, 0.5)
    assert set(header.telling) & {"quantisation", "progressive", "subsampling", "markers"}

    made = harmonise(pair, HarmoniseConfig(harmonise=True), tmp_path / "images", workers=1, progress=False)
    after = by_facts(source_probe(made, progress=False))
    assert after["header"].balanced_accuracy == pytest.approx(0.5, abs=0.02)
    assert after["header"].telling == ()
    size = after["header and size"]
    assert size.low <= 0.5 + 0.05
    assert size.balanced_accuracy < 0.65  # the same pictures: what is left is noise


def test_the_interval_holds_the_estimate_and_groups_are_not_torn(pair: Manifest) -> None:
    """Facts that tell the picture but not the source: copies in two folds would give it away."""
    frame = pair.frame.with_columns(pl.lit(pair.frame["uri"][0]).alias("uri"))
    found = by_facts(source_probe(Manifest(frame, pair.history), progress=False))
    measures = found["brightness, contrast, sharpness, entropy"] if len(found) == 3 else found["header"]
    assert measures.low <= measures.balanced_accuracy <= measures.high
    assert found["header"].balanced_accuracy == pytest.approx(0.5, abs=0.02)


def test_one_source_or_too_few_groups_are_refused(pair: Manifest) -> None:
    with pytest.raises(UserError, match="one source only"):
        source_probe(Manifest(pair.frame.head(COUNT), pair.history), progress=False)
    few = pair.frame.filter((pl.col("source") == "good") | (pl.col("sequence").cast(pl.Int64) < 3))
    with pytest.raises(UserError, match="'poor' has fewer than 5 groups"):
        source_probe(Manifest(few, pair.history), progress=False)
    with pytest.raises(UserError, match="photos 3"):
        ProbeConfig(photos=3)


def test_unreadable_files_are_counted(pair: Manifest) -> None:
    gone = pl.when(pl.col("sequence") == "7").then(pl.lit("/nowhere.jpg")).otherwise("uri").alias("uri")
    found = source_probe(Manifest(pair.frame.with_columns(gone), pair.history), progress=False)
    assert (found.unreadable, found.sources) == (2, {"good": COUNT - 1, "poor": COUNT - 1})


def test_command(pair: Manifest, tmp_path: Path) -> None:
    path = manifest.write(pair, tmp_path / "m.parquet")
    done = forked.run(["-m", "whichland", "data", "probe", path, "--photos", "40", "--json"])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["sources"] == {"good": 40, "poor": 40}
    assert said["readings"][0]["facts"] == "header"
    assert said["readings"][0]["balanced_accuracy"] == 1.0


def test_facts_of_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = tmp_path / "a.jpg"
    photo(0, size=(64, 48)).save(path, quality=80, progressive=True, subsampling=1, exif=exif)
    facts = file_facts(path.read_bytes())
    assert (facts.width, facts.height, facts.format) == (48, 64, "JPEG")
    assert (facts.progressive, facts.subsampling, facts.exif, facts.icc) == (True, "4:2:2", True, False)
    assert facts.bytes == path.stat().st_size
    assert facts.markers.split()[-1] == "DA"
    assert facts.header_bytes < facts.bytes
    photo(0, size=(64, 48)).save(tmp_path / "a.png")
    other = file_facts((tmp_path / "a.png").read_bytes())
    assert (other.format, other.markers, other.width) == ("PNG", "", 64)
    photo(0).convert("L").save(tmp_path / "g.jpg", icc_profile=b"x" * 200)
    grey = file_facts((tmp_path / "g.jpg").read_bytes())
    assert (grey.subsampling, grey.icc, grey.progressive) == ("grey", True, False)
    with pytest.raises(ImageError):
        file_facts(b"nothing")
    assert "bytes" not in HEADER


def test_rows_that_are_left_out_are_not_looked_at() -> None:
    table = measured(4, drop_reason=["dark"])
    with pytest.raises(UserError, match="one source only"):
        source_probe(table, progress=False)


def test_one_photo_without_measures_does_not_hide_the_measures(pair: Manifest) -> None:
    broken = pl.when(pl.col("sequence") == "3").then(None).otherwise("sharpness").alias("sharpness")
    found = source_probe(Manifest(pair.frame.with_columns(broken), pair.history), progress=False)
    assert [reading.facts for reading in found.readings][2] == "brightness, contrast, sharpness, entropy"
    unmeasured = pl.when(pl.col("source") == "good").then("entropy").alias("entropy")
    found = source_probe(Manifest(pair.frame.with_columns(unmeasured), pair.history), progress=False)
    assert [reading.facts for reading in found.readings][2] == "brightness, contrast, sharpness"


def test_a_source_of_which_nothing_can_be_read_is_named(pair: Manifest) -> None:
    gone = pl.when(pl.col("source") == "good").then(pl.lit("/nowhere.jpg")).otherwise("uri").alias("uri")
    with pytest.raises(UserError, match="'good' has fewer than 5 groups of readable"):
        source_probe(Manifest(pair.frame.with_columns(gone), pair.history), progress=False)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_the_forest_cannot_take_are_refused(seed: int) -> None:
    with pytest.raises(UserError, match=f"seed {seed}"):
        ProbeConfig(seed=seed)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_metadata_of_other_formats(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    found = []
    for extra in ({}, {"exif": exif}, {"icc_profile": b"a profile" * 40}):
        buffer = io.BytesIO()
        photo(0, size=(64, 64)).save(buffer, kind, **extra)
        facts = file_facts(buffer.getvalue())
        found.append((facts.exif, facts.icc))
    assert found == [(False, False), (True, False), (False, True)]


def test_odd_subsampling_is_not_taken_for_a_usual_one() -> None:
    frame = bytes([8, 0, 1, 0, 1, 3, 1, 0x31, 0, 2, 0x21, 0, 3, 0x21, 0])
    assert _subsampling(frame) == "1.5x1"
