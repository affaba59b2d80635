"""whichland audit: a real model, its page, and what the user can mend."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
from tiny_bundle import make_bundle, make_photos
from whichland.errors import UserError
from whichland.evaluation.audit import audit
from whichland.evaluation.audit_checks import AuditConfig
from whichland.manifest import Manifest, read, write

CODES = ("FR", "JP", "NA")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows nothing, and ninety photos of three countries, two a group."""
    folder = tmp_path_factory.mktemp("world")
    make_bundle(folder / "bundle")
    paths = make_photos(folder / "photos", 90)
    frame = pl.DataFrame(
        {
            "image_id": [path.name for path in paths],
            "uri": [str(path) for path in paths],
            "source": ["made"] * 90,
            "country": [CODES[at // 2 % 3] for at in range(90)],
            "group": [f"g{at // 2}" for at in range(90)],
            "split": ["train" if at < 50 else "val" for at in range(90)],
        }
    )
    write(Manifest(frame), folder / "m.parquet")
    return folder


def test_command_writes_page_and_numbers(world: Path) -> None:
    done = forked.run(["-m", "whichland", "audit", world / "bundle", world / "m.parquet", "--json"])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["photos"], said["groups"], said["countries"]) == (40, 20, ["FR", "JP", "NA"])
    assert said["shortcuts_found"] == []
    names = [check["name"] for check in said["checks"]]
    assert names == ["bottom", "top", "corners", "text", "frame", "thumbnail", "file", "bytes", "source", "mirror"]
    assert json.loads((world / "audit" / "audit.json").read_text()) == said
    page = (world / "audit" / "audit.html").read_text()
    assert re.search(r"<h1>(No shortcut found|Too few photos)", page)
    assert not re.search(r"(src|href)=.(https?:)?//", page)


def test_another_audit_is_not_overwritten_and_bad_wishes_are_one_line(world: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text(json.dumps({"split": "test"}))
    with pytest.raises(UserError, match="choose another --out"):
        audit(world / "bundle", world / "m.parquet", out=tmp_path)
    with pytest.raises(UserError, match="no kept photos of the model's countries in split 'test'"):
        audit(world / "bundle", world / "m.parquet", "test", tmp_path / "new")
    with pytest.raises(UserError, match="photos 3: give 20 or more"):
        AuditConfig(photos=3)
    few = read(world / "m.parquet").frame.filter((pl.col("country") == "FR") | (pl.col("split") == "train"))
    with pytest.raises(UserError, match="two countries"):
        audit(world / "bundle", Manifest(few), out=tmp_path / "new")


def test_a_large_split_is_drawn_with_countries_as_equal_as_can_be(world: Path) -> None:
    from whichland.evaluation.audit import _drawn
    from whichland.model import bundle as bundles

    frame = pl.DataFrame(
        {
            "image_id": [str(at) for at in range(200)],
            "country": ["JP"] * 150 + ["NA"] * 40 + ["FR"] * 10,
            "group": [None if at % 2 else f"g{at // 4}" for at in range(200)],
            "split": "val",
        }
    )
    drawn = _drawn(Manifest(frame), "val", bundles.load(world / "bundle"), 70)
    counts = dict(drawn["country"].value_counts().iter_rows())
    assert counts == {"JP": 30, "NA": 30, "FR": 10}
    assert drawn["image_id"].n_unique() == np.sum(list(counts.values()))
