import json
from pathlib import Path
from typing import Any

import pytest

from origins import put
from whichland.errors import UserError
from whichland.sources.ingest import ingest


def photo(id_: int, **fields: Any) -> dict[str, Any]:
    """A record as the API gives it: every value is text."""
    return {
        "id": str(id_),
        "sequenceId": "3788073",
        "sequenceIndex": "311",
        "lat": "46.057912",
        "lng": "14.520812",
        "heading": "359.5",
        "projection": "PLANE",
        "shotDate": "2020-09-18 05:19:10.250",
        "status": "active",
        "fileurlProc": "https://example.org/proc.jpg",
    } | fields


def answer(*photos: dict[str, Any], code: int = 600, message: str = "The request has been processed") -> Any:
    data = {"data": list(photos), "hasMoreData": False} if code == 600 else {}
    return {"status": {"apiCode": str(code), "apiMessage": message, "httpCode": 200}, "result": data}


def save(folder: Path, *answers: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    if len(answers) == 1:
        (folder / "list.json").write_text(json.dumps(answers[0]))
        return f"kartaview:{folder}/list.json"
    (folder / "list.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in answers))
    return f"kartaview:{folder}/list.jsonl"


def test_an_answer_becomes_rows(tmp_path: Path) -> None:
    put(tmp_path, "photos/1.jpg", "photos/2.jpg", "photos/3.jpg")
    sphere = photo(2, projection="SPHERE", heading=None, headers="-90", sequence={"id": 77}, sequenceId=None)
    frame = ingest(save(tmp_path, answer(photo(1, username="ana"), sphere))).frame
    assert frame["image_id"].to_list() == ["kartaview/1", "kartaview/2"]
    assert frame["uri"][0] == f"{tmp_path}/photos/1.jpg"
    assert frame["sequence"].to_list() == ["3788073", "77"]
    assert frame["projection"].to_list() == ["perspective", "equirectangular"]
    assert frame["heading"].to_list() == [359.5, 270.0]
    assert frame["captured_at"][0] == "2020-09-18T05:19:10.250Z"
    assert (frame["lat"][0], frame["lon"][0]) == (46.057912, 14.520812)
    assert frame["license"].to_list() == ["CC-BY-SA-4.0"] * 2
    assert frame["attribution"].to_list() == ["ana, KartaView, CC BY-SA 4.0", "KartaView, CC BY-SA 4.0"]


def test_lists_lines_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, answers in (
        ("list", [[photo(1), photo(2), photo(1)]]),
        ("lines", [photo(1), photo(2), photo(1)]),
        ("answers", [answer(photo(1)), answer(photo(2), photo(1)), answer(code=601, message="empty")]),
    ):
        origin = save(put(tmp_path / folder, "1.jpg", "2.jpg"), *answers)
        assert ingest(origin).frame["image_id"].to_list() == ["kartaview/1", "kartaview/2"]
        assert "1 records left out that repeat a photo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([answer(code=401, message="You are not allowed")], "refused with apiCode 401 .You are not allowed"),
        ([answer(photo(1)), answer(code=690, message="later")], "apiCode 690"),
        ([answer(code=601)], "holds no photo"),
        ([answer(photo(8))], "not there: 1 of 1 photo, 8 first"),
        ([answer(photo(1, lat=None))], "photo 1 has no coordinates"),
        ([answer(photo(1, lat="146"))], r"row 1: \(146, 14.520812\)"),
        ([["a"]], "not a photo of KartaView"),
        ([{"type": "FeatureCollection"}], "not a photo of KartaView"),
        ([{"status": "active", "result": 1}], "not a photo of KartaView"),
        ([{"status": {"apiCode": "x"}, "result": {}}], "refused with apiCode x"),
        ([{"status": {}, "result": None}], "refused with apiCode none"),
        ([{"status": {"apiCode": 600}, "result": "later"}], "not a photo of KartaView"),
        ([[photo(1, id="\ud800")]], r"not there: 1 of 1 photo, \? first"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, answers: list[Any], says: str) -> None:
    put(tmp_path, "1.jpg")
    with pytest.raises(UserError, match=says) as raised:
        ingest(save(tmp_path, *answers))
    assert "\n" not in str(raised.value)


def test_files_that_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("<html>")
    with pytest.raises(UserError, match="neither JSON nor JSON lines"):
        ingest(f"kartaview:{tmp_path}/list.json")
    (tmp_path / "list.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="neither JSON nor JSON lines"):
        ingest(f"kartaview:{tmp_path}/list.json")
    (tmp_path / "list.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        ingest(f"kartaview:{tmp_path}/list.json")


def test_a_photo_that_was_not_fetched_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = save(put(tmp_path, "1.png"), answer(photo(1), photo(2)))
    assert ingest(origin, skip_unknown=True).frame["uri"].to_list() == [f"{tmp_path}/1.png"]
    assert "left out for a photo that is not there: 1 of 2 rows" in capsys.readouterr().err
