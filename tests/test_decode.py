import contextlib
import csv
import io
import json
import os
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from whichland.images import containers
from whichland.images.decode import FINER, ImageError, decode, decode_luma, image_size, load, read_bytes
from whichland.images.file_facts import file_facts
from whichland.images.orientation import jpeg_orientation

BAD_INPUTS = Path(__file__).parent.parent.parent / "shared/data/bad_inputs"
HEIC = find_spec("pillow_heif") is not None  # which made the manifest without it
NOT_SUPPORTED = {"EPS", "DDS", "ICO", "TGA", "SGI", "FLI", "JPEG2000"}


def picture(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth picture in which every corner differs, so that a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 90], axis=2).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG = encode(picture(400, 300), quality=95)


# --- every file found in the wild -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, object]]:
    """Open all bad inputs in a process of its own; its peak memory and what it printed come along."""
    if not BAD_INPUTS.is_dir():
        pytest.skip("needs ../shared/data/bad_inputs")
    script = """
import json, sys
from pathlib import Path
from whichland.images.decode import FINER, ImageError, load, image_size
for path in sorted(p for p in Path(sys.argv[1]).rglob("*") if p.is_file() and p.name != "manifest.csv"):
    try:
        pixels = load(str(path))
        line = {"size": [pixels.shape[1], pixels.shape[0]], "stated": image_size(path.read_bytes()),
                "rgb": pixels.dtype == "uint8" and pixels.shape[2:] == (3,), "mean": pixels.mean()}
    except ImageError as error:
        line = {"error": str(error)}
    print(json.dumps({"path": path.relative_to(sys.argv[1]).as_posix(), **line}))
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"path": "peak", "kB": int(peak[0].split()[1])}))
"""
    done = subprocess.run([sys.executable, "-c", script, BAD_INPUTS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_every_bad_input_opens_or_says_why_in_one_line(outcomes: dict[str, dict[str, object]]) -> None:
    peak = outcomes.pop("peak")
    assert peak["kB"] < 1_000_000
    assert len(outcomes) >= 213
    for path, outcome in outcomes.items():
        if "error" in outcome:
            error = str(outcome["error"])
            assert "\n" not in error
            assert len(error.split(path)[1]) < 120
        else:
            assert outcome["rgb"], path
            assert outcome["stated"] == outcome["size"], path
    outcomes["peak"] = peak


def test_bad_inputs_open_as_pillow_opens_them(outcomes: dict[str, dict[str, object]]) -> None:
    """What Pillow opens, opens at the same size, unless its format is none that photos come in."""
    with (BAD_INPUTS / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        outcome = outcomes[row["path"]]
        opens = row["pillow"] == "opens" and row["format"] not in NOT_SUPPORTED
        assert ("size" in outcome) or not opens, (row, outcome)
        if "size" in outcome and row["category"] not in ("exif_orientation", "heic"):
            assert "x".join(map(str, outcome["size"])) == row["size"]
        if row["format"] in NOT_SUPPORTED:
            assert "not supported" in str(outcome["error"])
        if row["category"] == "lfs_pointer":
            assert "git lfs pull" in str(outcome["error"])
        if row["category"] == "heic":
            assert ("size" in outcome) == HEIC, outcome
            assert HEIC or "install the extra 'heic'" in str(outcome["error"])


def test_pictures_turned_by_exif_are_all_the_same_upright() -> None:
    folder = BAD_INPUTS / "exif_orientation"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/bad_inputs")
    upright = load(str(folder / "Pillow__hopper_orientation_2.jpg")).astype(int)
    for path in folder.iterdir():
        assert np.abs(load(str(path)).astype(int) - upright).mean() < 6, path.name


# --- JPEG --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_has_the_pixels_that_pillow_gives(progressive: bool, subsampling: int) -> None:
    data = encode(picture(), progressive=progressive, subsampling=subsampling)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@given(width=st.integers(1, 300), height=st.integers(1, 300), short_side=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_the_margin_over_the_short_side_is_never_undercut(width: int, height: int, short_side: int) -> None:
    data = encode(np.full((height, width, 3), 128, np.uint8))
    for found, left in ((decode(data, short_side=short_side), FINER), (decode_luma(data, short_side=short_side), 1)):
        scales = [s for s in (1, 2, 4, 8) if s == 1 or -(-min(width, height) // s) >= left * short_side]
        assert found.shape[:2] == (-(-height // scales[-1]), -(-width // scales[-1]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(picture(), kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    pixels = decode(data)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.flags["C_CONTIGUOUS"]
    assert pixels.flags["WRITEABLE"]
    assert image_size(data) == (pixels.shape[1], pixels.shape[0])
    assert pixels.shape == ((96, 64, 3) if orientation >= 5 else (64, 96, 3))


def test_big_endian_exif_is_read() -> None:
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    data = JPEG[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + JPEG[2:]
    assert image_size(data) == (300, 400)


def test_a_jpeg_cut_short_is_refused_and_one_without_end_marker_opens() -> None:
    with pytest.raises(ImageError, match="truncated"):
        decode(JPEG[: len(JPEG) // 2])
    with pytest.raises(ImageError, match="truncated"):
        decode(JPEG[:-400], short_side=8)
    np.testing.assert_array_equal(decode(JPEG[:-2]), decode(JPEG))


def test_stray_bytes_before_a_marker_do_no_harm() -> None:
    table = JPEG.index(b"\xff\xdb")
    np.testing.assert_array_equal(decode(JPEG[:table] + b"junk" + JPEG[table:]), decode(JPEG))


def test_luma_is_that_of_the_colours() -> None:
    colours = np.asarray(Image.fromarray(decode(JPEG)).convert("L")).astype(int)
    assert np.abs(decode_luma(JPEG).astype(int) - colours).max() <= 3


# --- other formats -----------------------------------------------------------------------------------------


def test_transparency_is_flattened_on_white() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    flat = decode(encode(pixels, "PNG"))
    assert (flat[:2] == 0).all()
    assert (flat[2:] == 255).all()
    grey = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    buffer = io.BytesIO()
    grey.save(buffer, "PNG", transparency=5)
    flat = decode(buffer.getvalue())
    assert flat[1, 1].tolist() == [255] * 3
    assert flat[3, 3].tolist() == [15] * 3


def test_sixteen_bits_are_cut_to_eight() -> None:
    grey = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(encode(grey, kind))
        np.testing.assert_array_equal(pixels[:, :, 0], grey >> 8)
        assert pixels.shape == (16, 16, 3)


def test_cmyk_keeps_its_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK")
    buffer = io.BytesIO()
    red.save(buffer, "JPEG", quality=95)
    assert np.abs(decode(buffer.getvalue()).astype(int) - [200, 30, 40]).max() < 12


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        assert decode(buffer.getvalue())[4, 4, 0] > 240


# --- what is no photo --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b'{"error": "token expired"}', "JSON"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "XML"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"some words", "no known image format"),
        (b"\xff\xd8\xff\xd9", "JPEG"),
        (b"\xff\xd8\xff", "JPEG header"),
        (JPEG[:300], "truncated JPEG header"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes, says: str) -> None:
    for read in (decode, image_size):
        with pytest.raises(ImageError, match=says):
            read(data)


def test_bombs_are_refused_from_the_header() -> None:
    png = bytearray(encode(picture(), "PNG"))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    frame = JPEG.index(b"\xff\xc0")
    jpeg = bytearray(JPEG)
    jpeg[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    for data in (bytes(png), bytes(jpeg)):
        for read in (decode, image_size):
            with pytest.raises(ImageError, match=r"limit of \d+ million"):
                read(data)


def test_broken_tiffs_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(picture(), "TIFF", compression="tiff_lzw")
    for cut in (9, len(data) // 2, len(data) - 30):
        with pytest.raises(ImageError):
            decode(data[:cut])
    assert capfd.readouterr() == ("", "")


@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_no_damage_raises_anything_but_image_error(kind: str, places: list[tuple[float, int]]) -> None:
    data = bytearray(encode(picture(32, 24), kind))
    for place, value in places:
        data[int(place * len(data))] = value
    for read in (decode, image_size):
        with contextlib.suppress(ImageError):
            read(bytes(data))


# --- where the bytes lie -----------------------------------------------------------------------------------


@pytest.fixture
def shard(tmp_path: Path) -> str:
    images = [{"bytes": encode(np.full((8, 8, 3), i, np.uint8)), "path": f"{i}.jpg"} for i in range(50)]
    images[7]["bytes"] = None
    path = tmp_path / "train-00000-of-00001.parquet"
    pl.DataFrame({"image": images}).write_parquet(path, row_group_size=20)
    return str(path)


def test_rows_of_a_shard_are_read_in_place_from_many_threads(shard: str) -> None:
    wrong: list[object] = []

    def read(start: int) -> None:
        rows = [row for row in [*range(start, 50), *range(start)] if row != 7]
        wrong.extend(row for row in rows if abs(load(f"{shard}#{row}").mean() - row) > 1)

    threads = [threading.Thread(target=read, args=(start,)) for start in (0, 12, 25, 37)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_blocks_that_are_kept_are_bounded(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "KEPT_BLOCKS_BYTES", 20_000)
    blocks = containers._Blocks()
    for row in range(8, 50):
        blocks.read(shard, row)
        assert blocks._bytes == sum(map(containers._size, blocks._kept.values()))
        assert blocks._bytes <= 20_000 or len(blocks._kept) == 1
    assert len(blocks._kept) < 4


def test_a_shard_written_again_is_read_again(shard: str) -> None:
    assert load(f"{shard}#0").mean() < 1
    pl.DataFrame({"image": [encode(np.full((8, 8, 3), 200, np.uint8))]}).write_parquet(shard)
    os.utime(shard, ns=(1, 1))
    assert load(f"{shard}#0").mean() > 198


@pytest.mark.parametrize(
    ("place", "says"), [("#50", "no such row"), ("#7", "no image bytes"), ("#x", "number of a row")]
)
def test_a_wrong_row_is_named(shard: str, place: str, says: str) -> None:
    with pytest.raises(ImageError, match=says) as raised:
        load(shard + place)
    assert str(raised.value).count(shard) == 1


def test_a_forked_process_is_told_so_instead_of_hanging(shard: str) -> None:
    script = f"""
import multiprocessing, sys
from whichland.images.decode import read_bytes
def read(row):
    return len(read_bytes({shard!r} + f"#{{row}}"))
if __name__ == "__main__":
    read(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(read, [1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'start workers with "spawn"' in done.stderr


def test_members_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("NO/a.jpg", JPEG)
        archive.writestr("big.jpg", bytes(2_000_000))
    np.testing.assert_array_equal(load(f"{path}#NO/a.jpg"), decode(JPEG))
    with pytest.raises(ImageError, match="no such member"):
        read_bytes(f"{path}#b.jpg")
    monkeypatch.setattr(containers, "MAX_BYTES", 1_000_000)
    with pytest.raises(ImageError, match="over the limit"):
        read_bytes(f"{path}#big.jpg")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(ImageError, match="zip archive"):
        read_bytes(f"{tmp_path}/broken.zip#a.jpg")


def test_plain_files(tmp_path: Path) -> None:
    odd = tmp_path / "a.zip#1.jpg"
    odd.write_bytes(JPEG)
    assert read_bytes(str(odd)) == JPEG
    with pytest.raises(ImageError, match="No such file"):
        load(str(tmp_path / "none.jpg"))
    with pytest.raises(ImageError, match="not a file"):
        load(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a file"):
        load(str(tmp_path / "pipe.jpg"))
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: the file is empty"):
        load(str(tmp_path / "empty.jpg"))


def tagged(order: bytes, kind: int, value: int) -> bytes:
    """An APP1 segment whose only tag is the orientation, of one of TIFF's types."""
    sign = "<" if order == b"II" else ">"
    cell = struct.pack(sign + {1: "B3x", 3: "Hxx", 4: "I", 6: "b3x", 8: "hxx", 9: "i"}[kind], value)
    entry = struct.pack(sign + "HHI", 0x0112, kind, 1) + cell
    tiff = order + struct.pack(sign + "HIH", 42, 8, 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("order", [b"II", b"MM"])
@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("value", [3, 6, 8])
def test_the_orientation_may_be_any_whole_number(order: bytes, kind: int, value: int) -> None:
    """Cameras write SHORT, phones also LONG and BYTE; Pillow turns the picture that has a SHORT."""
    plain = encode(picture(80, 60), subsampling=0)
    data = plain[:2] + tagged(order, kind, value) + plain[2:]
    usual = plain[:2] + tagged(order, 3, value) + plain[2:]
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(usual)))
    assert image_size(data) == expected.size
    assert decode(data).shape == (expected.height, expected.width, 3)
    assert np.abs(decode(data).astype(int) - np.asarray(expected)).max() <= 2

    if kind in (1, 4):
        png = encode(picture(80, 60), "PNG", exif=tagged(order, kind, value)[10:])
        assert image_size(png) == expected.size


def test_bytes_before_a_marker_do_not_hide_the_orientation() -> None:
    """T.81, B.1.1.2: fill bytes FF may precede any marker; stray bytes in front of one are skipped by libjpeg."""
    plain, exif = encode(picture(80, 60)), tagged(b"II", 3, 6)
    xmp = b"\xff\xe1\x00\x20http://ns.adobe.com/xap/1.0/\0x"
    assert plain[2:4] == b"\xff\xe0"  # JFIF, 18 bytes
    for front in (exif, xmp + exif, b"\xff" + exif, b"\xff\xff\xff" + xmp + b"\xff\xff" + exif, b"\0\0" + exif):
        for at in (2, 20) if front[0] else (20,):  # a JPEG begins with FF D8 FF
            data = plain[:at] + front + plain[at:]
            assert image_size(data) == (60, 80)
            assert decode(data).shape == (80, 60, 3)
            assert file_facts(data).exif
    assert jpeg_orientation(plain + exif) == 1  # behind the scan


def test_a_shard_of_one_row_group_is_decoded_a_few_times_not_once_for_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 1000
    images = [bytes([row % 256]) * 50 for row in range(rows)]
    pl.DataFrame({"image": images}).write_parquet(tmp_path / "one.parquet", row_group_size=rows)
    asked: list[tuple[int, int]] = []
    read = containers._read_block

    def counted(shard: str, start: int, count: int) -> list[bytes | None]:
        asked.append((start, count))
        return read(shard, start, count)

    monkeypatch.setattr(containers, "_read_block", counted)
    blocks = containers._Blocks()
    assert [blocks.read(str(tmp_path / "one.parquet"), row) for row in range(rows)] == images
    assert len(asked) < 10
    asked.clear()
    blocks = containers._Blocks()  # rows in no order are not read along with a thousand others
    for row in (500, 20, 900, 300):
        assert blocks.read(str(tmp_path / "one.parquet"), row) == images[row]
    assert [count for _, count in asked] == [16] * 4


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 98])
def test_a_broken_member_of_a_zip_is_one_unreadable_photo(tmp_path: Path, method: int) -> None:
    """9 is Deflate64 and 98 PPMd, which Windows and WinZip write and Python does not read."""
    path = tmp_path / "a.zip"
    stored = method if method in (8, 12, 14) else 8
    with zipfile.ZipFile(path, "w", stored) as archive:
        archive.writestr("good.jpg", encode(np.zeros((64, 64, 3), np.uint8)), zipfile.ZIP_STORED)
        archive.writestr("bad.jpg", np.random.default_rng(0).bytes(20_000))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("bad.jpg").header_offset
    if stored == method:
        data[start + 60 : start + 300] = bytes(240)
    else:
        directory = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
        data[start + 8 : start + 10] = data[directory + 10 : directory + 12] = method.to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.zip#bad\.jpg: cannot be unpacked"):
        read_bytes(f"{path}#bad.jpg")
    assert load(f"{path}#good.jpg").shape == (64, 64, 3)
