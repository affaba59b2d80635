"""A batch that was killed goes on where it stopped, and comes to the same file; another one is refused."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from curated import photo
from misbehaving_host import misbehaving_host
from tiny_bundle import make_bundle, make_photos
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.run import Journal, predict_to
from whichland.errors import UserError
from whichland.model.export import ExportConfig, export

BATCH = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that needs no torch, so that a process of its own starts in a second."""
    made = make_bundle(tmp_path_factory.mktemp("run") / "bundle")
    export(made, None, ExportConfig())
    return made


def test_a_batch_killed_in_the_middle_goes_on_and_gives_the_same_file(bundle: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    photo(3).save(file, "JPEG")
    photos = make_photos(tmp_path / "photos", 2 * BATCH)
    with misbehaving_host(file.getvalue()) as host:
        held = [f"{host.address}/held-once/{number}.jpg" for number in range(BATCH)]
        listed, out = tmp_path / "list.txt", tmp_path / "out" / "answers.csv"
        listed.write_text("\n".join([*map(str, photos), *held, str(tmp_path / "gone.jpg")]))
        command = [sys.executable, "-m", "whichland", "predict", bundle, listed, "-o", out]
        flags = ["--allow-local", "--batch-size", str(BATCH), "--fetch-seconds", "50"]
        started = subprocess.Popen([*map(str, command), *flags], stderr=subprocess.PIPE, text=True)
        journal = out.with_name("answers.csv.part") / "rows.jsonl"
        deadline = time.monotonic() + 120
        try:
            while not (journal.is_file() and journal.read_bytes().count(b"\n") == 2 * BATCH):
                assert time.monotonic() < deadline, "the first batches were not kept"
                assert started.poll() is None
                time.sleep(0.05)
        finally:
            started.send_signal(signal.SIGKILL)
            started.communicate()
        assert not out.exists()
        with journal.open("ab") as rows:
            rows.write(b'{"path": "half a li')  # as if it had died while writing

        for path in photos:
            path.unlink()  # what is done is not asked again
        config = PredictConfig(allow_local=True, batch_size=BATCH)
        complaints: list[str] = []
        named = find_photos([str(listed)])
        done = predict_to(bundle, named, out, config, complain=lambda row: complaints.append(str(row["path"])))
        assert (done.photos, done.unreadable) == (3 * BATCH + 1, 1)
        assert complaints == [str(tmp_path / "gone.jpg")]
        assert not journal.parent.exists()

        make_photos(tmp_path / "photos", 2 * BATCH)
        again = tmp_path / "again.csv"
        predict_to(bundle, named, again, config)
        assert out.read_bytes() == again.read_bytes()
        assert pl.read_csv(out)["path"].to_list() == list(named)


def half_done(bundle: Path, out: Path, photos: list[Path], config: PredictConfig) -> None:
    """Leave a batch behind in which the first photo has been answered."""
    with Journal(out, bundle, config) as journal:
        row = {"path": str(photos[0]), "country": "ZA", "probability": 1.0, "views": 1, "error": None}
        journal.add([row])


def test_rows_that_are_there_are_taken_as_they_are_whatever_the_order_and_the_repeats(
    bundle: Path, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path, 4)
    out, config = tmp_path / "a.jsonl", PredictConfig(top=1)
    half_done(bundle, out, photos, config)
    order = [photos[at] for at in (3, 0, 2, 0, 3, 1)]
    done = predict_to(bundle, find_photos(map(str, order)), out, config)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert done.photos == 6
    assert [row["path"] for row in rows] == [str(path) for path in order]
    assert [row["probability"] == 1.0 for row in rows] == [path == photos[0] for path in order]
    assert rows[0] == rows[4]


@pytest.mark.parametrize(
    ("settings", "named"), [({"top": 2}, "top"), ({"views": "one"}, "views"), ({"check_exif": True}, "check_exif")]
)
def test_other_settings_are_refused_and_what_is_there_is_kept(
    bundle: Path, tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    photos = make_photos(tmp_path, 2)
    out = tmp_path / "a.parquet"
    half_done(bundle, out, photos, PredictConfig())
    before = (tmp_path / "a.parquet.part" / "rows.jsonl").read_bytes()
    with pytest.raises(UserError, match=rf"a\.parquet\.part .*another {named}: give the same to resume"):
        predict_to(bundle, find_photos([str(tmp_path)]), out, PredictConfig(**settings))  # type: ignore[arg-type]
    assert (tmp_path / "a.parquet.part" / "rows.jsonl").read_bytes() == before
    # how fast the work is done may change
    predict_to(bundle, find_photos([str(tmp_path)]), out, PredictConfig(batch_size=1))
    assert pl.read_parquet(out)["country"][0] == "ZA"


def test_another_model_is_refused_and_so_is_a_second_process(bundle: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 2)
    out, named = tmp_path / "a.csv", find_photos([str(tmp_path / "photos")])
    half_done(bundle, out, photos, PredictConfig())
    other = make_bundle(tmp_path / "other", temperature=2.0)
    with pytest.raises(UserError, match="begun with another model"):
        predict_to(other, named, out, PredictConfig())
    with (
        Journal(out, bundle, PredictConfig()),
        pytest.raises(UserError, match="another prediction is being written there"),
    ):
        predict_to(bundle, named, out, PredictConfig())


def test_where_nothing_can_be_written_is_said_before_any_photo_is_read(bundle: Path, tmp_path: Path) -> None:
    photos = find_photos(map(str, make_photos(tmp_path, 1)))
    (tmp_path / "file").touch()
    for out, complaint in (
        ("a.xlsx", "known are .parquet, .csv"),
        ("file/a.csv", "cannot be written"),
        (".", "known are"),
    ):
        with pytest.raises(UserError, match=complaint):
            predict_to(bundle, photos, tmp_path / out, PredictConfig())
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        predict_to(bundle, photos, tmp_path / "folder.csv", PredictConfig())
