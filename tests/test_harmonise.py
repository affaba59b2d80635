import io
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curated import photo
from whichland import manifest
from whichland.curate import geometry
from whichland.curate import merge as harmonising
from whichland.curate.geometry import HarmoniseConfig, Target
from whichland.curate.measure import measure
from whichland.curate.merge import harmonise, merge
from whichland.errors import UserError
from whichland.images.decode import load, read_bytes
from whichland.images.file_facts import file_facts
from whichland.manifest import Manifest
from whichland.sources.columns import complete

COUNT = 6


def listed(source: str, paths: list[Path], **columns: object) -> Manifest:
    frame = pl.DataFrame(
        {
            "image_id": [f"{source}/{path.name}" for path in paths],
            "uri": [str(path) for path in paths],
            "source": source,
            "label_country": "FR",
            **columns,
        }
    )
    frame = complete(frame)
    return Manifest(frame.head(0)).with_step("ingest", frame)


def strip(seed: int) -> Image.Image:
    """Four square pictures side by side, each of a tint of its own."""
    parts = [np.asarray(photo(seed * 4 + part, size=(120, 120))) // 4 + 48 * part for part in range(4)]
    return Image.fromarray(np.hstack(parts))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of 200×150 with EXIF and a profile, and strips of 480×120."""
    exif = Image.Exif()
    exif[0x010F] = "Some camera"
    for seed in range(COUNT):
        photo(seed, size=(200, 150)).save(
            tmp_path / f"p{seed}.jpg", quality=95, subsampling=0, exif=exif, icc_profile=b"a profile" * 40
        )
        strip(seed).save(tmp_path / f"s{seed}.jpg", quality=80, progressive=True)
    return tmp_path


@pytest.fixture
def merged(folder: Path) -> Manifest:
    photos = listed("cam", sorted(folder.glob("p*.jpg")), heading=[10.0] * COUNT, sequence=["a"] * COUNT)
    panoramas = listed("pano", sorted(folder.glob("s*.jpg")), heading=[90.0] * COUNT, sequence=list("uvwxyz"))
    return merge([measure(table, workers=1, progress=False) for table in (photos, panoramas)])


def run(table: Manifest, into: Path, *, workers: int = 1, **settings: object) -> Manifest:
    config = HarmoniseConfig(**settings)  # type: ignore[arg-type]
    return harmonise(table, config, into, workers=workers, progress=False)


STRIP = {"projection": {"pano": "strip:4"}}


def test_views_of_a_strip(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", **STRIP)
    assert manifest.problems(made.frame) == []
    assert made.frame.head(COUNT)["uri"].to_list() == merged.frame.head(COUNT)["uri"].to_list()
    views = made.frame.filter(pl.col("panorama") == "pano/s2.jpg")
    assert views["view"].to_list() == ["1/4", "2/4", "3/4", "4/4"]
    assert views["image_id"].to_list() == [f"pano/s2.jpg#{n}/4" for n in range(1, 5)]
    assert views["heading"].to_list() == [315.0, 45.0, 135.0, 225.0]  # the strip's middle looks at 90
    assert set(views["sequence"]) == {"w"}
    assert set(views["origin_uri"]) == {str(tmp_path / "s2.jpg")}
    assert set(views["projection"]) == {"perspective"}
    for part, uri in enumerate(views["uri"]):
        pixels = load(uri)
        assert pixels.shape == (120, 120, 3)
        assert abs(pixels.mean() - np.asarray(strip(2))[:, part * 120 : part * 120 + 120].mean()) < 1.5


def test_what_was_measured_of_the_panorama_is_not_said_of_its_views(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", **STRIP)
    views, photos = (made.frame.filter(pl.col("source") == name) for name in ("pano", "cam"))
    for name in ("width", "height", "bytes", "sha256", "phash", "brightness", "sharpness"):
        assert views[name].null_count() == views.height
        assert photos[name].null_count() == 0
    again = measure(made, workers=1, progress=False)
    assert set(again.frame.filter(pl.col("source") == "pano").select("width", "height").iter_rows()) == {(120, 120)}


def test_all_files_have_one_header_and_no_metadata(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", harmonise=True, **STRIP)
    assert made.history[0].params["written_size"] == "90x90"  # the squares of 120 px, times 3/4
    files = [read_bytes(uri) for uri in made.frame["uri"]]
    assert len(files) == COUNT + 4 * COUNT
    facts = [file_facts(data) for data in files]
    assert len({fact[: fact._fields.index("bytes")] for fact in facts}) == 1
    assert len({data[: facts[0].header_bytes] for data in files}) == 1  # to the byte
    assert (facts[0].width, facts[0].height, facts[0].exif, facts[0].icc) == (90, 90, False, False)
    assert facts[0].subsampling == "4:2:0"
    assert b"camera" not in b"".join(files)
    assert made.frame["view"][0] == "crop=150x150+25+0"


def test_the_same_bytes_however_many_processes_and_after_an_interruption(
    merged: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harmonising, "SHARD_ROWS", 5)
    run(merged, tmp_path / "one", harmonise=True, **STRIP)
    first = {path.name: path.read_bytes() for path in sorted((tmp_path / "one").iterdir())}
    assert len(first) == 3
    run(merged, tmp_path / "two", workers=2, harmonise=True, **STRIP)
    assert {path.name: path.read_bytes() for path in sorted((tmp_path / "two").iterdir())} == first

    kept, lost, _ = sorted((tmp_path / "two").iterdir())
    lost.unlink()
    before = kept.stat().st_mtime_ns
    run(merged, tmp_path / "two", harmonise=True, **STRIP)
    assert lost.read_bytes() == first[lost.name]
    assert kept.stat().st_mtime_ns == before

    run(merged, tmp_path / "two", harmonise=True, quality=60, **STRIP)  # other settings, other files
    assert len(list((tmp_path / "two").iterdir())) == 6

    other = merged.frame.with_columns(pl.col("sha256").str.replace("^.", "x"))  # a file changed under its name
    run(Manifest(other, merged.history), tmp_path / "two", harmonise=True, **STRIP)
    assert len(list((tmp_path / "two").iterdir())) == 9


def test_what_cannot_be_used_is_told_and_stays(merged: Manifest, folder: Path, tmp_path: Path) -> None:
    (folder / "p0.jpg").write_bytes(b"<html>not found</html>")
    (folder / "p1.jpg").unlink()
    photo(0, size=(80, 60)).save(folder / "p2.jpg")
    made = run(merged, tmp_path / "images", harmonise=True, size="100x100", **STRIP)
    rows = made.frame.head(COUNT)
    assert "web page" in rows["unreadable"][0]
    assert "cannot be read" in rows["unreadable"][1]
    assert rows["unreadable"][2] == "60×60 pixels would have to be enlarged to 100×100"
    assert rows["unreadable"].null_count() == COUNT - 3
    assert rows["sha256"].is_not_null().to_list()[:3] == [True, False, True]
    assert rows["uri"].to_list()[:3] == merged.frame["uri"].to_list()[:3]
    again = measure(made, workers=1, progress=False).frame.head(COUNT)
    assert again["unreadable"].null_count() == COUNT - 3  # measuring does not bring the small one back


def test_the_common_size_is_what_nearly_all_of_every_source_have(tmp_path: Path) -> None:
    def sized(source: str, sizes: list[tuple[int, int]], projection: str | None = None) -> pl.DataFrame:
        width, height = zip(*sizes, strict=True)
        return pl.DataFrame({"source": source, "width": width, "height": height}).with_columns(
            pl.lit(projection, dtype=pl.String).alias("projection")
        )

    wide = sized("wide", [(1536, 662)] * 199 + [(90, 60)])
    tall = sized("tall", [(600, 800)] * 10)
    sphere = sized("sphere", [(1024, 512)] * 10, "equirectangular")
    config = HarmoniseConfig(harmonise=True, shrink=1)

    def size(*frames: pl.DataFrame, config: HarmoniseConfig = config) -> tuple[int, int] | None:
        frame = geometry.with_projection(pl.concat(frames, how="diagonal"), config)
        return geometry.common_target(frame, config).size

    assert size(wide) == (1536, 662)  # one in 200 is smaller and will be left out
    assert size(wide, config=HarmoniseConfig(harmonise=True, shrink=1, keep=1)) == (90, 38)
    assert size(wide, tall) == (496, 661)  # 662 high, 3:4, whole pixels
    assert size(sphere) == (325, 325)  # 90° of 1024/360 pixels a degree, in its middle
    assert size(sphere, config=HarmoniseConfig(harmonise=True, aspect="2:1")) == (244, 122)


def test_a_sphere_that_is_none_is_told(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", projection={"pano": "equirectangular"})
    assert made.frame["unreadable"].drop_nulls().unique().to_list() == [
        "480×120 is not the whole sphere: an equirectangular image is twice as wide as high"
    ]


def test_views_of_a_sphere(tmp_path: Path) -> None:
    photo(1, size=(400, 200)).save(tmp_path / "sphere.jpg")
    table = listed("map", [tmp_path / "sphere.jpg"], heading=[350.0], projection=["equirectangular"])
    made = run(table, tmp_path / "images", directions=(0.0, 30.0), aspect="2:1", pitch=5.0)
    assert made.frame["view"].to_list() == ["heading=0,fov=90,pitch=5", "heading=30,fov=90,pitch=5"]
    assert made.frame["heading"].to_list() == [350.0, 20.0]
    assert load(made.frame["uri"][0]).shape == (64, 127, 3)


def test_cropping_without_harmonising_keeps_the_pixels(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", aspect="4:3", **STRIP)
    assert made.frame["uri"][0] == merged.frame["uri"][0]  # 200×150 is 4:3 already
    assert load(made.frame["uri"][-1]).shape == (90, 120, 3)


def test_a_shape_of_panoramas_is_pointed_out(
    merged: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(merged, tmp_path / "images", aspect="1:1")
    assert "6 pictures of 'pano', 4 times as wide as high" in capsys.readouterr().err
    run(merged, tmp_path / "images", aspect="1:1", projection={"pano": "perspective"})
    assert capsys.readouterr().err == ""


class Deadly(Target):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def test_a_photo_that_kills_its_process_is_told(merged: Manifest, tmp_path: Path) -> None:
    frame = geometry.with_projection(merged.frame.head(2), HarmoniseConfig())
    target = Deadly(aspect=1, size=None, quality=90, directions=(), fov=90, pitch=0)
    (job,) = harmonising.jobs_of(frame, target, tmp_path)
    harmonising.write_shards([job], 2, False)  # one shard: in this process
    assert harmonising.small_columns(job.path)["failure"].null_count() == 2
    job.path.unlink()
    harmonising._write_one_by_one(job)
    assert set(harmonising.small_columns(job.path)["failure"]) == {harmonising.WORKER_DIED}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quality": 0}, "quality 0"),
        ({"size": "10x10"}, "for --harmonise"),
        ({"harmonise": True, "size": "big"}, "two numbers, such as 448x448"),
        ({"harmonise": True, "size": "10x10", "aspect": "1:1"}, "leave out --aspect"),
        ({"aspect": "0:3"}, "two numbers, such as 16:9"),
        ({"projection": {"pano": "strip:0"}}, "strip:N with N from 1"),
        ({"projection": {"pano": "fisheye"}}, "pano=fisheye"),
        ({"fov": 180.0}, "fov 180"),
        ({"keep": 0.0}, "keep 0"),
        ({"directions": (0.0, 90.0, 360.0)}, "two of them are the same"),
        ({"directions": (float("nan"),)}, "give degrees"),
        ({"shrink": 2.0}, "shrink 2"),
        ({"projection": {"nobody": "strip:4"}}, "no source 'nobody'"),
        ({}, "no picture is to be changed"),
    ],
)
def test_refusals(merged: Manifest, tmp_path: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(merged, tmp_path / "images", **settings)


def test_unmeasured_sources_need_a_size(folder: Path, tmp_path: Path) -> None:
    table = listed("cam", sorted(folder.glob("p*.jpg")))
    with pytest.raises(UserError, match=r"'cam' is not measured.*give --size"):
        run(table, tmp_path / "images", harmonise=True)
    assert len(run(table, tmp_path / "images", harmonise=True, size="64")) == COUNT


def test_what_is_written_decodes_everywhere(merged: Manifest, tmp_path: Path) -> None:
    made = run(merged, tmp_path / "images", harmonise=True, **STRIP)
    picture = Image.open(io.BytesIO(read_bytes(made.frame["uri"][3])))
    picture.load()
    assert (picture.format, picture.size, sorted(picture.info)[:1]) == ("JPEG", (90, 90), ["jfif"])
    json.dumps(made.history[0].params)


def test_a_file_that_is_back_is_tried_again(merged: Manifest, folder: Path, tmp_path: Path) -> None:
    (folder / "p1.jpg").rename(folder / "away")
    lost = run(merged, tmp_path / "images", harmonise=True, **STRIP)
    assert lost.frame["unreadable"].is_not_null().sum() == 1
    (folder / "away").rename(folder / "p1.jpg")
    found = run(merged, tmp_path / "images", harmonise=True, **STRIP)
    assert found.frame["unreadable"].is_not_null().sum() == 0
    assert len(list((tmp_path / "images").iterdir())) == 1
