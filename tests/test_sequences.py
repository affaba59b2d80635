"""Which photos are of one recording: by folders, by numbered names, by times as makers write them."""

from datetime import UTC, datetime

import polars as pl
import pytest

from whichland.sources.sequences import seconds, sequences

# The same moment, 2021-05-30 12:00:01, as phones, dashcams, action cameras, drones and programs name their files.
NAMES = [
    *("20210530_120001", "IMG_20210530_120001", "PXL_20210530_120001234", "VID_20210530_120001-0012"),
    *("2021-05-30 12.00.01", "photo_2021-05-30_12-00-01", "signal-2021-05-30-12-00-01-123"),
    *("Screenshot_2021-05-30-12-00-01", "Screenshot_20210530-120001_Chrome", "Screenshot 2021-05-30 at 12.00.01"),
    *("WIN_20210530_12_00_01_Pro", "20210530120001_000123A", "2021_0530_120001_001", "20210530_120001_NF"),
    *("210530_120001_001_FH", "NO20210530-120001-000123F", "FILE210530-120001-000123F", "REC_2021_05_30_12_00_01_F"),
    *("2021-05-30_12-00-01-front", "DJI_20210530120001_0001_D", "IMG_20210530_120001_00_001", "EVENT20210530-120001"),
    *("2021_05_30_12_00_01_000", "vlcsnap-2021-05-30-12h00m01s123", "2021-05-30T12:00:01Z", "30-05-2021_12-00-01"),
    *("2021.05.30_12.00.01", "20210530_12_00_01", "2021_0530_120001_001_frame_0005", "cam1 2021-05-30T12-00-01"),
]


def of(*paths: str, labelled: bool = True) -> list[str | None]:
    return sequences([(path, path[:2] if labelled else None) for path in paths], "s")


@pytest.mark.parametrize("name", NAMES)
def test_a_time_in_a_name_ties_it_to_what_was_taken_minutes_apart(name: str) -> None:
    moment = datetime(2021, 5, 30, 12, 0, 1, tzinfo=UTC).timestamp()
    late, much_later, abroad = "FR/IMG_20210530_120401.jpg", "FR/IMG_20210530_131001.jpg", "NO/IMG_20210530_120002.jpg"
    made = of(f"FR/{name}.jpg", late, much_later, abroad)
    assert made[0] == made[1] is not None
    assert made[3] == f"s/NO/session-{moment + 1:.0f}"
    assert len({made[0], made[2], made[3]}) == 3


@pytest.mark.parametrize(
    "name",
    [
        *("IMG_20211330_120001", "20210530", "IMG-20210530", "10000_ab0c_1_20000@N00", "lat48.123456_lon2.123456"),
        *("5550001111", "1234567890123456789", "GX010123", "beach", "99999999_999999"),
    ],
)
def test_names_without_a_time_tie_nothing(name: str) -> None:
    assert of(f"FR/{name}.jpg", "FR/IMG_20210530_120001.jpg")[0] is None


def test_frames_of_a_recording_are_one_sequence() -> None:
    assert of(
        "FR/a/frame_000001.jpg", "FR/a/frame_000300.jpg", "FR/b/frame_000001.jpg", "FR/b/x.jpg", "FR/c/x.jpg"
    ) == [*("s/FR/a", "s/FR/a", "s/FR/b", "s/FR/b", None)]
    assert of("FR/a/images/1.jpg", "FR/a/images/2.jpg", "NO/b/images/1.jpg") == ["s/FR/a", "s/FR/a", None]
    assert of("a/frame_1.jpg", "a/frame_2.jpg", labelled=False) == ["s/a", "s/a"]


@pytest.mark.parametrize(
    "paths",
    [
        ("FR/images/1.jpg", "FR/images/2.jpg"),
        ("FR/FR/1.jpg", "FR/FR/2.jpg"),
        ("FR/2021/x.jpg", "FR/2021/y.jpg"),
        ("FR/DCIM/100CANON/x.jpg", "FR/DCIM/100CANON/y.jpg"),
        ("FR/street/1.jpg", "FR/street/2.jpg", "NO/street/1.jpg", "NO/street/2.jpg"),
        ("FR/0001.jpg", "FR/0002.jpg"),
        ("FR/img_0001.jpg", "FR/img_0002.jpg", "NO/img_0001.jpg", "NO/img_0002.jpg"),
        ("FR/france_001.jpg", "FR/france_002.jpg"),
        ("FR/street_1.jpg", "FR/street_2.jpg", "FR/x_1.jpg", "NO/street_1.jpg", "NO/street_2.jpg", "NO/x_1.jpg"),
    ],
)
def test_folders_and_numbers_that_only_sort_photos_tie_none(paths: tuple[str, ...]) -> None:
    assert of(*paths) == [None] * len(paths)


def test_numbered_names_are_frames_or_shots() -> None:
    assert of("FR/GX010123_0001.jpg", "FR/GX010123_0002.jpg", "FR/GX010124_0001.jpg", "FR/GX010124_0002.jpg") == [
        *("s/FR/GX010123", "s/FR/GX010123", "s/FR/GX010124", "s/FR/GX010124")
    ]
    assert of("FR/frame_1.jpg", "FR/frame_2.jpg", "NO/frame_1.jpg") == ["s/FR/frame", "s/FR/frame", None]
    assert of("FR/IMG_0001.JPG", "FR/IMG_0003.JPG", "FR/IMG_0100.JPG", "FR/IMG_0101.JPG") == [
        *("s/FR/IMG0001", "s/FR/IMG0001", "s/FR/IMG0100", "s/FR/IMG0100")
    ]
    assert of("FR/G0010001.JPG", "FR/G0010500.JPG", "FR/G0020501.JPG") == ["s/FR/G001", "s/FR/G001", None]


def test_ties_of_several_kinds_join() -> None:
    """A folder, and a photo outside it taken a minute after one of its photos."""
    made = of("FR/a/x.jpg", "FR/a/20210530_120001.jpg", "FR/20210530_120101.jpg")
    assert made == ["s/FR/a"] * 3


def test_times_of_exif_tie_the_photos_of_one_camera() -> None:
    photos = [(f"FR/{name}.jpg", "FR") for name in "abcd"]
    times, cameras = [1000.0, 1299.0, 1600.0, 1001.0], ["X", "X", "X", "Y"]
    one, other, late, foreign = sequences(photos, "s", times=times, cameras=cameras)
    assert one == other
    assert len({one, late, foreign}) == 3
    assert sequences(photos, "s", times=[None] * 4, cameras=cameras) == [None] * 4


def test_a_day_is_no_time() -> None:
    times = pl.Series(["2021-05-30T12:00:01Z", "2021-05-30T12:00:01.500Z", "2021-05-30T00:00:00Z", None])
    moment = datetime(2021, 5, 30, 12, 0, 1, tzinfo=UTC).timestamp()
    assert seconds(times) == [moment, moment + 0.5, None, None]
