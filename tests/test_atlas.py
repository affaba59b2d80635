"""The atlas on photos whose truth is known: the planted square comes back, the decoy does not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import forked
from tiny_bundle import make_bundle, make_photos
from whichland.errors import UserError
from whichland.explanation.atlas import Atlas, atlas
from whichland.explanation.atlas_config import AtlasConfig
from whichland.explanation.atlas_page import factor, numbers, write_atlas
from whichland.explanation.patches import clusters, core
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest, write
from whichland.model.bundle import Bundle, Info
from whichland.model.label_sources import countries

COLOURS = {"FR": (230, 20, 20), "JP": (20, 230, 20), "NA": (20, 20, 230)}  # of each country's square
YELLOW = (230, 230, 20)  # the decoy
SIDE, SQUARE = 64, 12
CONFIG = AtlasConfig(photos=24, hosts=36, scales=(0.2,), clusters=4)


class ByColour(nn.Module):
    """A model with timm's seams that knows each country by one pure colour and sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        mix = torch.full((3, 3), -1.0) + 2 * torch.eye(3)  # a channel less the two others
        self.mix = nn.Parameter(mix.reshape(3, 3, 1, 1))
        self.feature_info = [{"reduction": 8}]

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        pure_BCHW = functional.relu(functional.conv2d(x_BCHW * 0.5 + 0.5, self.mix))
        return functional.avg_pool2d(pure_BCHW, 8)

    def forward_intermediates(self, x_BCHW: Tensor, *, intermediates_only: bool) -> list[Tensor]:
        assert intermediates_only
        return [functional.avg_pool2d(x_BCHW, size) for size in (1, 2, 4)]

    def forward_head(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3)) * 100

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x_BCHW))


def draw(folder: Path, drives: int = 8, frames: int = 2) -> Manifest:
    """Noise with a square in the country's colour; every other photo has a yellow square, too: the decoy."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    rows = []
    for code, colour in COLOURS.items():
        for drive in range(drives):
            for frame in range(frames):
                pixels = np.clip(random.normal(120, 8, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
                down, left = random.integers(2, SIDE // 2 - SQUARE, 2)
                top = SIDE // 2 + down
                pixels[top : top + SQUARE, left : left + SQUARE] = colour
                if random.random() < 0.5:
                    pixels[4 : 4 + SQUARE, 44 : 44 + SQUARE] = YELLOW
                path = folder / f"{code}-{drive}-{frame}.png"
                Image.fromarray(pixels).save(path)
                rows.append(
                    {"image_id": path.stem, "uri": str(path), "source": "t", "country": code, "split": "val"}
                    | {"group": f"{code}{drive}", "creator": f"<{code}>", "license": "CC-BY-4.0"}
                    | {"attribution": f"{code} & Sons" if frame else None}
                )
    rows.append({**rows[0], "image_id": "gone", "uri": str(folder / "gone.png")})
    return Manifest(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder = tmp_path_factory.mktemp("photos")
    preprocess = Preprocess(size=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.5,) * 3)
    bundle = Bundle(
        folder=folder / "run" / "bundle",
        model=ByColour(),
        space=countries(tuple(COLOURS)),
        preprocess=preprocess,
        info=Info(),
    )
    return atlas(bundle, draw(folder / "in"), CONFIG)


def test_the_planted_squares_come_back_and_the_decoy_does_not(made: Atlas) -> None:
    assert [chapter.country for chapter in made.chapters] == ["FR", "JP", "NA"]
    for chapter in made.chapters:
        assert (chapter.photos, chapter.right, chapter.looked_at) == (16, 16, 16), "the unreadable one is left out"
        assert chapter.confirmed, f"{chapter.country}'s square is not found"
        for clue in chapter.confirmed:
            pixels = np.concatenate([patch.pixels.reshape(-1, 3) for patch in clue.shown]).astype(int)
            assert (np.abs(pixels - COLOURS[chapter.country]).max(axis=1) < 40).mean() > 0.1
            assert (np.abs(pixels - YELLOW).max(axis=1) < 40).mean() < 0.1
            assert clue.shift is not None
            assert clue.shift.low > 0
            assert {patch.photo.country for patch in clue.patches} == {chapter.country}
        strengths = [clue.shift.value for clue in chapter.confirmed if clue.shift]
        assert strengths == sorted(strengths, reverse=True)


def test_the_same_atlas_twice(made: Atlas) -> None:
    uri = Path(made.chapters[0].clues[0].patches[0].photo.uri)
    again = atlas(made.bundle, draw(uri.parent), replace(CONFIG, countries=("Japan",)))
    assert [chapter.country for chapter in again.chapters] == ["JP"]
    assert numbers(again)["countries"][0] == numbers(made)["countries"][1], "a country does not depend on others"


def test_a_model_that_sees_nothing_has_no_clues(made: Atlas) -> None:
    """With colours it does not look at in its head, the model guesses by noise; nothing may be confirmed."""
    uri = Path(made.chapters[0].clues[0].patches[0].photo.uri)
    blind = ByColour()
    with torch.no_grad():
        blind.mix.copy_(torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 1e-3)
    bundle = replace(made.bundle, model=blind)
    (chapter,) = atlas(bundle, draw(uri.parent), replace(CONFIG, countries=("FR",))).chapters
    assert chapter.confirmed == []


def test_pages_hold_everything_and_credit_everybody(made: Atlas, tmp_path: Path) -> None:
    index = write_atlas(made, tmp_path / "guide")
    names = sorted(path.name for path in index.parent.iterdir())
    assert names == ["FR.html", "JP.html", "NA.html", "atlas.json", "index.html"]
    for name in names:
        text = (index.parent / name).read_text(encoding="utf-8")
        assert len(text) < 10e6
        if name.endswith(".html"):
            assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,|[A-Z]{2}\.html|index\.html)', text)
            assert "<script" not in text
            assert "@import" not in text
            assert 'name="viewport"' in text
    page = (index.parent / "NA.html").read_text(encoding="utf-8")
    assert "Namibia" in page
    assert "&lt;NA&gt;, CC-BY-4.0" in page
    assert "NA &amp; Sons" in page
    assert "not a means to find people" in page
    assert all(f'href="{code}.html"' in index.read_text(encoding="utf-8") for code in COLOURS)
    written = json.loads((index.parent / "atlas.json").read_text(encoding="utf-8"))
    assert written["countries"][2]["clues"][0]["shift"]["pastings"] > 50


def test_clusters_part_what_differs_and_a_core_is_of_many_drives(made: Atlas) -> None:
    patches = [patch for chapter in made.chapters for clue in chapter.clues for patch in clue.patches]
    kinds = clusters(patches, 6, 0)
    assert sum(map(len, kinds)) == len(patches)
    assert len(kinds) > 1
    for kind in kinds:
        groups = [patch.photo.group for patch in core(kind)]
        assert max(map(groups.count, groups)) <= 3
        assert core(kind)[0] is kind[0]
    assert clusters([], 6, 0) == []


def test_factors_are_written_for_reading() -> None:
    assert [factor(x) for x in (0.0, np.log(1.5), np.log(3.21), np.log(45.2))] == ["×1.00", "×1.50", "×3.21", "×45.2"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"countries": ("Atlantis",)}, "Atlantis"),
        ({"countries": ("BR",)}, "FR, JP, NA"),
        ({"split": "test"}, "0 of the model's countries"),
    ],
)
def test_what_the_user_can_mend(made: Atlas, tmp_path: Path, settings: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        atlas(made.bundle, draw(tmp_path, 1, 1), AtlasConfig(**settings))  # type: ignore[arg-type]


def test_settings_that_make_no_atlas_are_refused() -> None:
    for wrong in ({"scales": ()}, {"scales": (0.9,)}, {"photos": 0}, {"level": 1.0}):
        with pytest.raises(UserError):
            AtlasConfig(**wrong)  # type: ignore[arg-type]


def test_the_command_with_a_real_model(tmp_path: Path) -> None:
    labels = ("FR", "JP")
    bundle = make_bundle(tmp_path / "run" / "bundle", labels)
    photos = make_photos(tmp_path / "in", 16)
    frame = pl.DataFrame(
        {
            "image_id": [path.stem for path in photos],
            "uri": [str(path) for path in photos],
            "source": "t",
            "country": [labels[at % 2] for at in range(16)],
            "split": "test",
        }
    )
    table = write(Manifest(frame), tmp_path / "m.parquet")
    command = ["-m", "whichland", "atlas", bundle, table, "--out", tmp_path / "g"]
    done = forked.run([*command, "--split", "test", "--json"])
    assert done.returncode == 0, done.stderr
    assert {row["country"] for row in json.loads(done.stdout)["countries"]} == set(labels)
    assert (tmp_path / "g" / "index.html").is_file()
