from pathlib import Path

import pytest

from origins import put
from whichland.errors import UserError
from whichland.images.decode import load
from whichland.sources.ingest import ingest

PHOTOS = ("train/NA/1.jpg", "train/XK/2.jpg", "valid/NA/1.jpg", "test/FR/3.jpg")


@pytest.mark.parametrize("kind", ["", "country211:"])
def test_parts_and_countries(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "Country211", *PHOTOS)
    frame = ingest(f"{kind}{tmp_path}/Country211").frame
    assert frame.select("image_id", "country", "official_split").rows() == [
        ("country211/train/NA/1.jpg", "NA", "train"),
        ("country211/train/XK/2.jpg", "XK", "train"),
        ("country211/valid/NA/1.jpg", "NA", "valid"),
        ("country211/test/FR/3.jpg", "FR", "test"),
    ]
    assert frame["source"].unique().to_list() == ["country211"]
    assert load(frame["uri"][2]).shape == (16, 24, 3)


def test_what_is_not_in_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, *PHOTOS, "extra/NA/9.jpg")
    assert ingest(f"country211:{tmp_path}").frame.height == 4
    assert "folders that are no part are ignored: extra" in capsys.readouterr().err
    put(tmp_path, "train/Atlantis/4.jpg")
    with pytest.raises(UserError, match="'Atlantis'"):
        ingest(f"country211:{tmp_path}")
    assert ingest(f"country211:{tmp_path}", skip_unknown=True).frame.height == 4
    with pytest.raises(UserError, match="none of the folders train"):
        ingest(f"country211:{tmp_path}/train")
    with pytest.raises(UserError, match="no such folder"):
        ingest(f"country211:{tmp_path}/nowhere")
