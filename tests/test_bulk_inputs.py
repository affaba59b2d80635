"""What can be named to be predicted: every kind of thing, in order, and what is said of things without photos."""

import io
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest

from curated import measured, photo, save
from whichland.bulk.inputs import Photos, find_photos
from whichland.errors import UserError
from whichland.images.decode import load
from whichland.manifest import write


def shard(path: Path, rows: int) -> Path:
    """A Parquet shard with embedded photos."""
    images = []
    for seed in range(rows):
        file = io.BytesIO()
        photo(seed, size=(40, 30)).save(file, "JPEG")
        images.append({"bytes": file.getvalue(), "path": f"{seed}.jpg"})
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"image": images}).write_parquet(path)
    return path


def test_a_zip_gives_its_photos_and_a_shard_its_rows_and_each_can_be_read(tmp_path: Path) -> None:
    archive = tmp_path / "photos.ZIP"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("b/x.JPG", "a.jpg", "__MACOSX/._a.jpg", ".hidden/y.jpg", "notes.txt", "b/"):
            picture = io.BytesIO()
            photo(1, size=(40, 30)).save(picture, "JPEG")
            file.writestr(name, picture.getvalue() if "." in name else b"")
    rows = shard(tmp_path / "s.parquet", 3)
    single = save(photo(2), tmp_path / "single.jpg")
    found = find_photos(map(str, [archive, rows, single, f"{rows}#1"]))
    assert list(found) == [
        *(f"{archive}#b/x.JPG", f"{archive}#a.jpg"),
        *(f"{rows}#{number}" for number in range(3)),
        *(str(single), f"{rows}#1"),
    ]
    assert not found.addresses
    assert all(load(one).shape[2] == 3 for one in found)


def test_photos_are_a_sequence_over_all_parts(tmp_path: Path) -> None:
    paths = [str(save(photo(seed), tmp_path / f"{seed}.jpg")) for seed in range(3)]
    rows = shard(tmp_path / "s.parquet", 4)
    found = find_photos([paths[0], str(rows), *paths[1:]])
    wanted = [paths[0], *(f"{rows}#{number}" for number in range(4)), *paths[1:]]
    assert len(found) == 7
    assert [found[at] for at in range(7)] == wanted
    assert [found[start:stop] for start, stop in ((0, 3), (2, 6), (5, 99))] == [wanted[0:3], wanted[2:6], wanted[5:99]]
    with pytest.raises(IndexError):
        found[7]
    assert len(Photos([])) == 0


def test_a_manifest_gives_its_kept_photos(tmp_path: Path) -> None:
    manifest = measured(5)
    reasons = pl.Series([None, "dark", None, None, "blurred"], dtype=pl.String)
    path = write(
        manifest.with_step("clean", manifest.frame.with_columns(reasons.alias("drop_reason"))), tmp_path / "m.parquet"
    )
    uris = manifest.frame["uri"].to_list()
    assert list(find_photos([str(path)])) == [uris[0], uris[2], uris[3]]


def test_a_list_holds_paths_and_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["# of yesterday", "", "a.jpg", "  https://example.org/b.jpg?x=1#y  ", "HTTP://example.org/ü.jpg"]
    wanted = ["a.jpg", "https://example.org/b.jpg?x=1#y", "HTTP://example.org/ü.jpg"]
    path = tmp_path / "list.txt"
    path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    found = find_photos([str(path)])
    assert list(found) == wanted
    assert found.addresses
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert list(find_photos(["-", "http://example.org/?q=*"])) == [*wanted, "http://example.org/?q=*"]
    path.write_text("a.jpg\n")
    assert not find_photos([str(path)]).addresses


def test_a_quoted_glob_is_what_the_shell_would_make_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/2.png", "a/b/3.jpg", "c.jpg", "[x].jpg"):
        save(photo(1), Path(name))
    Path("a/notes.md").touch()
    shard(Path("s/part-1.parquet"), 2)
    assert list(find_photos(["a/*"])) == ["a/1.jpg", "a/2.png", "a/b/3.jpg"]
    assert list(find_photos(["**/*.jpg"])) == ["[x].jpg", "a/1.jpg", "a/b/3.jpg", "c.jpg"]
    assert list(find_photos(["a/**"])) == ["a/1.jpg", "a/2.png", "a/b/3.jpg"]
    assert list(find_photos(["s/*.parquet"])) == ["s/part-1.parquet#0", "s/part-1.parquet#1"]
    assert list(find_photos(["[x].jpg"])) == ["[x].jpg"]  # a file of that very name
    with pytest.raises(UserError, match=r"z\*: no photos match"):
        find_photos(["z*"])


def test_two_uploads_of_one_set_of_shards_are_not_mixed(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001-aa.parquet", "train-00000-of-00002-bb.parquet"):
        shard(tmp_path / name, 1)
    with pytest.raises(UserError, match="two sets of shards"):
        find_photos([f"{tmp_path}/*.parquet"])


def test_folders_are_in_the_order_of_whole_paths(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "a.jpg", "a-b/x.jpg", "ab.jpg", "A.jpg", "a/y/z.jpg", "a/y.jpg"):
        save(photo(1), tmp_path / name)
    (tmp_path / "round").symlink_to(tmp_path)
    found = list(find_photos([str(tmp_path)]))
    assert found == sorted(found)
    assert len(found) == 7


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("broken.zip", b"PK\x03\x04 no more", "not a readable zip archive"),
        ("broken.parquet", b"PAR1", "not a readable Parquet file"),
        ("empty.txt", b"\n# nothing\n", "no photos in this list"),
    ],
)
def test_what_holds_no_photos_is_said_at_the_door(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        find_photos([str(tmp_path / name)])


def test_a_table_without_photos_and_a_folder_of_shards_are_told_apart(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"neither images nor a column `uri` in it \(it has a, b\)"):
        find_photos([str(tmp_path / "t.parquet")])
    with pytest.raises(UserError, match=r"no photos in this folder .*t?/\*\.parquet"):
        find_photos([str(tmp_path)])


def test_a_name_that_is_not_unicode_stays_what_it_is(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(odd, "wb") as file:
        file.write(b"x")
    (found,) = find_photos([str(tmp_path)])
    assert os.fsencode(found) == odd


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_list_may_come_from_any_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, end: str
) -> None:
    """PowerShell writes UTF-16, a spreadsheet Windows-1252."""
    names = [str(tmp_path / name) for name in ("café.jpg", "b.jpg")]
    for name in names:
        save(photo(1), Path(name))
    data = (end.join(names) + end).encode(encoding)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(find_photos(["-"])) == names
    (tmp_path / "list.txt").write_bytes(data)
    assert list(find_photos([str(tmp_path / "list.txt")])) == names


def test_a_list_of_names_that_are_not_unicode_names_them(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(odd, "wb") as file:
        file.write(b"x")
    (tmp_path / "list.txt").write_bytes(odd + b"\n")
    assert list(map(os.fsencode, find_photos([str(tmp_path / "list.txt")]))) == [odd]


def test_what_systems_put_beside_photos_is_not_predicted(tmp_path: Path) -> None:
    for name in ("a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/b.jpg", "$RECYCLE.BIN/c.jpg", ".t/d.jpg"):
        save(photo(1), tmp_path / name)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert list(find_photos([str(tmp_path)])) == [str(tmp_path / "a.jpg")]
