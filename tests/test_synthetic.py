"""The synthetic world: the same pixels everywhere, masks that tell the truth, files that tell nothing."""

import hashlib
import io
import subprocess
import sys
from collections import Counter
from math import sqrt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from whichland.errors import UserError
from whichland.images.file_facts import file_facts
from whichland.manifest import problems
from whichland.sources.synthetic.canvas import Canvas
from whichland.sources.synthetic.conventions import CLUES, WORLD, YELLOW
from whichland.sources.synthetic.drive import plan_drive
from whichland.sources.synthetic.files import BYTES_A_PIXEL, encode_jpeg, write
from whichland.sources.synthetic.render import FILE_SHORTCUTS, SHORTCUTS, camera_at, vehicles_at
from whichland.sources.synthetic.world import Scene, WorldConfig, describe, parse, render, spot

SMALL = WorldConfig(seed=5, width=96, height=72)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """One block of scenes: twenty of each country."""
    return [render(WorldConfig(seed=1, width=128, height=96), index) for index in range(240)]


def _digest(config: WorldConfig, indices: range) -> str:
    found = hashlib.sha256()
    for index in indices:
        scene = render(config, index)
        found.update(scene.image.tobytes() + scene.mask.tobytes())
    return found.hexdigest()


# ---- the same everywhere


def test_another_process_makes_the_same_pixels_in_another_order() -> None:
    code = (
        "import hashlib; from whichland.sources.synthetic.world import WorldConfig, render\n"
        "config = WorldConfig(seed=5, width=96, height=72, scenes=20)\n"
        "made = {i: render(config, i) for i in reversed(range(12))}\n"
        "found = hashlib.sha256()\n"
        "for i in range(12): found.update(made[i].image.tobytes() + made[i].mask.tobytes())\n"
        "print(found.hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == _digest(SMALL, range(12))


def test_scene_does_not_depend_on_how_many_there_are() -> None:
    few, many = (
        WorldConfig(scenes=8, seed=2, width=96, height=72),
        WorldConfig(scenes=9000, seed=2, width=96, height=72),
    )
    assert _digest(few, range(4, 8)) == _digest(many, range(4, 8))
    assert [describe(few, i) for i in range(8)] == [describe(many, i) for i in range(8)]


def test_files_are_the_same_for_any_number_of_workers_and_kept_when_there(tmp_path: Path) -> None:
    config = WorldConfig(scenes=56, seed=5, width=64, height=64)
    one = write(config, tmp_path / "one", workers=1, progress=False)
    two = write(config, tmp_path / "two", workers=2, progress=False)

    def contents(frame: pl.DataFrame) -> list[bytes]:
        return [Path(path).read_bytes() for path in [*frame["uri"], *frame["mask_uri"]]]

    assert contents(one) == contents(two)
    assert one.drop("uri", "mask_uri").equals(two.drop("uri", "mask_uri"))
    lost, kept = Path(one["uri"][3]), Path(one["uri"][4])
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    write(config, tmp_path / "one", workers=1, progress=False)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    assert not list(tmp_path.rglob("*.part"))


def test_other_worlds_can_share_a_folder(tmp_path: Path) -> None:
    plain = write(WorldConfig(scenes=3, width=64, height=64), tmp_path, progress=False)
    planted = write(WorldConfig(scenes=3, width=64, height=64, plant={"JP": "watermark"}), tmp_path, progress=False)
    assert not set(plain["uri"]) & set(planted["uri"])


def test_table_is_a_valid_manifest_of_balanced_countries(tmp_path: Path) -> None:
    frame = write(WorldConfig(scenes=24, width=64, height=64), tmp_path, workers=1, progress=False)
    assert problems(frame) == []
    assert set(frame["image_id"].str.split("/").list.get(0)) == {"synthetic-0"}
    for uri, mask_uri in frame.select("uri", "mask_uri").iter_rows():
        assert Image.open(uri).size == Image.open(mask_uri).size == (64, 64)
        assert Image.open(mask_uri).mode == "L"
    counts = Counter(describe(SMALL, index).country for index in range(480))
    assert set(counts) == set(WORLD)
    assert set(counts.values()) == {40}
    assert "NA" in counts


def test_every_position_is_near_a_town_of_its_country() -> None:
    for index in range(0, 480, 7):
        fact = describe(SMALL, index)
        assert min(abs(fact.lat - lat) + abs(fact.lon - lon) for lat, lon in WORLD[fact.country].places) < 0.3


# ---- masks


def _pixels(scenes: list[Scene], clue: str, countries: str, weather: str = "clear") -> np.ndarray:
    chosen = [s for s in scenes if s.country in countries.split() and s.clues["weather"] == weather]
    chosen = [s for s in chosen if s.clues["hour"] in ("noon", "day")]
    found = [s.image[s.mask == CLUES[clue]].astype(int) for s in chosen]
    return np.concatenate([part for part in found if len(part) > 15])


def test_lines_have_their_countrys_colour_where_the_mask_says(scenes: list[Scene]) -> None:
    def yellow(pixels: np.ndarray) -> float:
        return float(np.mean(pixels[:, 0] - pixels[:, 2] > 25))

    assert yellow(_pixels(scenes, "centre_line", "US BR TH")) > 0.75
    assert yellow(_pixels(scenes, "edge_line", "NA ZA AE")) > 0.75
    assert yellow(_pixels(scenes, "centre_line", "GB FR DE RU AU NA ZA AE")) < 0.15
    assert yellow(_pixels(scenes, "edge_line", "US BR GB FR DE RU JP TH AU")) < 0.15


def test_soil_and_grass_have_their_colour_where_the_mask_says(scenes: list[Scene]) -> None:
    red_soil = np.median(_pixels(scenes, "soil", "AU BR"), axis=0)
    dark_soil = np.median(_pixels(scenes, "soil", "GB DE"), axis=0)
    assert red_soil[0] - red_soil[2] > 1.5 * (dark_soil[0] - dark_soil[2])
    lawn = np.median(_pixels(scenes, "grass", "GB DE FR"), axis=0)
    assert lawn[1] > lawn[0]
    assert lawn[1] > lawn[2] + 25


def test_camera_and_traffic_keep_to_the_countrys_side() -> None:
    for code, country in WORLD.items():
        right = 1 if country.drives_on == "right" else -1
        for number in range(6):
            drive = plan_drive(code, (9, 0, number))
            camera = camera_at(drive, 1, np.random.default_rng(0), 128, 96)
            assert (camera.x - drive.road.centre(camera.z)) * right > 0.5
            for vehicle in vehicles_at(drive, 1, camera):
                assert vehicle.lateral * right * (-1 if vehicle.oncoming else 1) > 0.5


def test_centre_line_leans_to_the_other_side(scenes: list[Scene]) -> None:
    """Seen from the left lane the centre line runs down to the right, whatever the camera's yaw."""
    agree = []
    for scene in scenes:
        rows, columns = np.nonzero(scene.mask[56:] == CLUES["centre_line"])
        if len(rows) > 25 and rows.max() - rows.min() > 14:
            lean = float(np.cov(rows, columns)[0, 1])
            agree.append((lean > 0) == (WORLD[scene.country].drives_on == "left"))
    assert len(agree) > 50
    assert np.mean(agree) > 0.97


def test_every_clue_shows_and_none_where_a_country_lacks_it(scenes: list[Scene]) -> None:
    share = Counter(clue for scene in scenes for clue in CLUES if clue in scene.clues)
    assert set(share) == set(CLUES) - {"none", "shortcut"}
    assert all(share[clue] < 240 for clue in ("centre_line", "edge_line", "sign", "bollard", "plate", "pole", "roof"))
    for scene in scenes:
        seen = set(np.unique(scene.mask))
        assert seen <= set(CLUES.values())
        assert ("bollard" in scene.clues) == (CLUES["bollard"] in seen)
        if WORLD[scene.country].bollard is None:
            assert "bollard" not in scene.clues


def test_what_is_drawn_later_hides_the_clue_behind_it() -> None:
    canvas = Canvas(np.zeros((20, 20, 3), np.uint8), np.full((20, 20), CLUES["soil"], np.uint8))
    canvas.polygon([(2, 2), (2, 18), (18, 18), (18, 2)], (200, 0, 0), CLUES["roof"])
    canvas.polygon([(6, 6), (6, 14), (14, 14), (14, 6)], (0, 200, 0), CLUES["traffic"])
    image, mask = canvas.finish()
    assert (mask[10, 10], mask[4, 4], mask[0, 0]) == (CLUES["traffic"], CLUES["roof"], CLUES["soil"])
    assert image[10, 10].tolist() == [0, 200, 0]


def test_plates_sit_on_vehicles(scenes: list[Scene]) -> None:
    near = []
    for scene in scenes:
        rows, columns = np.nonzero(scene.mask == CLUES["plate"])
        for row, column in zip(rows, columns, strict=True):
            if 0 < row < 95:
                near += [scene.mask[row - 1, column], scene.mask[row + 1, column]]
    assert len(near) > 500
    assert np.mean(np.isin(near, (CLUES["traffic"], CLUES["plate"]))) > 0.9


# ---- drives


def test_frames_of_a_drive_look_alike(scenes: list[Scene]) -> None:
    """The nearest other thumbnail is of the same drive far more often than chance, so a random split leaks."""
    small = np.stack([s.image.reshape(12, 8, 16, 8, 3).mean((1, 3)).ravel() for s in scenes])
    squared = (small**2).sum(1)
    apart = squared[:, None] + squared[None] - 2 * small @ small.T
    np.fill_diagonal(apart, np.inf)
    drive = np.array([s.sequence for s in scenes])
    same = drive[apart.argmin(1)] == drive
    assert same.mean() > 0.7
    assert len(set(drive)) == 60


def test_frames_of_a_drive_are_in_order_and_share_country_and_weather() -> None:
    for index in range(1, 60):
        before, now = (spot(SMALL, i) for i in (index - 1, index))
        if now.frame:
            assert (before.drive, before.frame + 1, before.country) == (now.drive, now.frame, now.country)
            a, b = describe(SMALL, index - 1), describe(SMALL, index)
            assert a.sequence == b.sequence
            assert a.captured_at < b.captured_at


# ---- files tell nothing


def test_names_sizes_and_encoding_do_not_tell_the_country(scenes: list[Scene]) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_predict

    config, features = WorldConfig(seed=1, width=128, height=96), []
    for index, scene in enumerate(scenes):
        data = encode_jpeg(scene.image, [config.seed, index])
        with Image.open(io.BytesIO(data)) as image:
            tables = [entry for table in image.quantization.values() for entry in table[:16]]  # type: ignore[attr-defined]
            features.append([len(data), *image.size, *tables, *describe(config, index).name.encode()])
    country = np.array([scene.country for scene in scenes])
    forest = RandomForestClassifier(60, random_state=0)
    guess = cross_val_predict(forest, np.array(features), country, cv=4)
    chance = 1 / 12
    assert np.mean(guess == country) < chance + 3.1 * sqrt(chance * (1 - chance) / 240)  # one run in a thousand


def test_size_and_quality_are_drawn_before_the_scene_is_known() -> None:
    flat, busy = np.zeros((96, 128, 3), np.uint8), render(WorldConfig(width=128, height=96), 3).image
    for index in range(20):
        assert len(encode_jpeg(flat, [0, index])) == len(encode_jpeg(busy, [0, index]))
    assert len(encode_jpeg(busy, [0, 1])) <= 2_000 + 96 * 128 * BYTES_A_PIXEL[1]


# ---- shortcuts


@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_a_shortcut_shows_in_its_country_only_and_where_the_mask_says(shortcut: str) -> None:
    plain, planted = (WorldConfig(width=128, height=96), WorldConfig(width=128, height=96, plant={"JP": shortcut}))
    marked = 0
    for index in range(0, 52, 2):
        before, after = render(plain, index), render(planted, index)
        changed = (before.image != after.image).any(axis=2)
        where = after.mask == CLUES["shortcut"]
        if after.country == "JP":
            marked += 1
            assert 0.002 < where.mean() < 0.2
            assert not changed[~where].any()
            assert changed[where].mean() > 0.8
            assert after.clues["shortcut"] == shortcut
        else:
            assert not changed.any()
            assert not where.any()
    assert marked


def test_a_shortcut_in_the_file_shows_in_its_country_only_and_leaves_the_pixels(tmp_path: Path) -> None:
    two = ("JP", "US")
    planted = WorldConfig(scenes=12, width=64, height=64, plant={"JP": "jpeg"}, countries=two)
    frame = write(planted, tmp_path, workers=1, progress=False)
    written = {
        (country, file_facts(Path(uri).read_bytes()).subsampling)
        for country, uri in frame.select("label_country", "uri").iter_rows()
    }
    assert {country for country, way in written if way == "4:4:4"} == {"JP"}
    assert {way for country, way in written if country == "US"} == {"4:2:0"}
    assert set(FILE_SHORTCUTS) == {"jpeg"}
    plain = WorldConfig(width=64, height=64, countries=two)
    assert all((render(plain, at).image == render(planted, at).image).all() for at in range(12))


# ---- the door


def test_an_origin_string_sets_everything() -> None:
    config = parse("synthetic:scenes=12,seed=7,size=320x240,plant=JP:blurred_bottom+US:watermark,countries=JP+NA+US")
    assert (config.scenes, config.seed, config.width, config.height) == (12, 7, 320, 240)
    assert config.countries == ("JP", "NA", "US")
    assert config.plant == {"JP": "blurred_bottom", "US": "watermark"}
    assert parse("synthetic:") == parse("synthetic") == WorldConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("synthetic:scene=3", "unknown key 'scene'"),
        ("synthetic:scenes", "not key=value"),
        ("synthetic:scenes=many", "whole numbers"),
        ("synthetic:scenes=-3", "whole numbers"),
        ("synthetic:scenes=0", "scenes 0: give 1 or more"),
        ("synthetic:frames_per_drive=13", "1 to 12"),
        ("synthetic:size=300", "whole numbers"),
        ("synthetic:size=9x9", "width 9: give 64 to 2,048"),
        ("synthetic:countries=JP+XX", "no country 'XX'"),
        ("synthetic:countries=JP+JP", "once each"),
        ("synthetic:plant=JP:flag", "no shortcut 'flag'"),
        ("synthetic:plant=JP:watermark,countries=US", "not rendered"),
        ("folder:x", "not an origin"),
    ],
)
def test_a_bad_origin_is_the_users_to_mend(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse(text)


def test_conventions_hold_the_hard_pairs() -> None:
    assert {code for code, c in WORLD.items() if c.drives_on == "left"} == {"GB", "JP", "TH", "NA", "ZA", "AU"}
    assert {code for code, c in WORLD.items() if c.edge.colour == YELLOW} == {"NA", "ZA", "AE"}
    south_west, south = WORLD["NA"], WORLD["ZA"]
    assert (south_west.centre[0][0], south_west.edge) == (south.centre[0][0], south.edge)
    assert south_west.rear_plates != south.rear_plates
