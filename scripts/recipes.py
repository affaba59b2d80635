"""Write recipes/ for the two write-ups that this project sets out to reproduce, a file a cell.

    .venv/bin/python scripts/recipes.py            # recipes/dashcam-*.toml and recipes/streetview-*.toml

The dash-cam write-up compares sixteen models on 100, 200 and 300 photos a country; the Street View write-up trains
ResNet50 in seven ways. What they do not state is said to be ours on top of each file.
"""

from pathlib import Path
from typing import Any

from whichland.config import build, to_toml
from whichland.model.families import SIXTEEN, Member
from whichland.training.config import TrainConfig

FOLDER = Path(__file__).resolve().parent.parent / "recipes"

DASHCAM = {
    "countries": ["AU", "BR", "DE", "JP", "US"],
    "head": [512],
    "dropout": 0.5,
    "head_first": False,
    "freeze": "backbone:1,none",
    "restart": True,
    "epochs": 101.0,
    "size": 224,
    "test_size": 224,
    "batch_size": 64,
    "lr": 2e-3,
    "body_lr": 0.01,
    "weight_decay": 0.01,
    "smoothing": 0.0,
    "prior": "trained",
    "weighting": "none",
    "ema": 0.0,
    "min_area": 0.08,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.0,
}
DASHCAM_TOP = """
# There: fastai on one 16 GB RTX 5000. Its best models reach an F1 above 0.9 (base) and above 0.85 (small) on 40
# test photos a country. It prints no score and no time for each cell, but says that the 100 epochs of ViT-base
# took 35 to 40 minutes, and those of ConvNeXt, the slowest, about an hour.
# From there: model, countries, photos, one epoch of the last layers and 100 of all, 224 pixels, random crops,
# brightness and contrast. fastai's defaults, which it does not change: head, rates of body and head, batch, decay,
# crops from 0.08 of the area. It looks for a rate before each run (`whichland lr-find`); 2e-3 is fastai's own.
# Other than there: photos keep their shape, which it squashes to a square, and the average pooling is the model's.
"""

STREETVIEW = {
    "arch": "resnet50.tv2_in1k",
    "head_first": False,
    "dropout": 0.0,
    "schedule": "exponential",
    "warmup": 0.0,
    "body_lr": 1.0,
    "weight_decay": 0.0,
    "smoothing": 0.0,
    "prior": "trained",
    "weighting": "none",
    "ema": 0.0,
    "min_area": 1.0,
    "max_stretch": 1.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "flip": True,
}
FOLLOWING = {"head": [300], "head_after": "logits"}
REPLACING = {"head": [1024, 512]}
FAST, SLOW = {"lr": 1e-4, "lr_end": 1e-6}, {"lr": 1e-4, "lr_end": 1e-5}  # how the rate decays
SIDES = {256: [256, 594], 392: [392, 910], 512: [512, 1188], 662: [662, 1536]}  # all of the shape 662×1536
ROWS: dict[str, tuple[float | None, int, dict[str, Any]]] = {  # accuracy there, shorter side, settings
    "1": (0.49, 512, {"head_after": "logits", "lr": 1e-3, "lr_end": 1e-6, "epochs": 3, "freeze": "front:2,none"}),
    "2": (0.56, 512, {**FOLLOWING, **FAST, "epochs": 5, "freeze": "front"}),
    "3": (0.50, 512, {**REPLACING, **SLOW, "epochs": 4, "freeze": "front"}),
    "4": (0.57, 512, {**REPLACING, **SLOW, "epochs": 3, "freeze": "front"}),
    "5": (0.54, 512, {"head": [1024, 512, 256], **SLOW, "epochs": 2.5, "freeze": "front"}),
    "6": (0.50, 256, {"weights": "none", **FOLLOWING, **FAST, "epochs": 3}),
    "7": (0.51, 392, {"weights": "none", **FOLLOWING, **FAST, "epochs": 2}),
    "full": (None, 662, {**REPLACING, **SLOW, "epochs": 3, "freeze": "front"}),
}  # fmt: skip
STREETVIEW_TOP = """
# From there: head, start, rates, epochs, shorter side (of 662x1536), freezing, the flip. ImageNet weights are
# torchvision's second, whose own normalisation is kept. A layer that begins with 1000 inputs follows the 1000-way
# classifier; one that begins with 1024 is read as a head on the 2048 features: 1024, 512, ..., countries.
# Not stated there, and ours: the decay's shape (exponential), when the front is freed, AdamW, 32 photos a step.
"""


def recipes() -> dict[str, str]:
    """The text of every file, by its name."""
    made = {}
    for member in SIXTEEN:
        for photos in (100, 200, 300):
            name = f"dashcam-{member.family.lower()}-{member.tier}-{photos}"
            made[f"{name}.toml"] = _dashcam(name, member, photos)
    for row, (accuracy, side, settings) in ROWS.items():
        name = f"streetview-resnet50-{row}"
        sizes = {"size": SIDES[side], "test_size": SIDES[side]}
        text = _lines(STREETVIEW | settings | sizes)
        made[f"{name}.toml"] = _streetview_title(row, accuracy) + _command(name) + STREETVIEW_TOP + "\n" + text
    return made


def _dashcam(name: str, member: Member, photos: int) -> str:
    title = f"# {member.family} {member.tier} on {photos} photos a country: a cell of the dash-cam write-up.\n"
    return title + _command(name) + DASHCAM_TOP + "\n" + _lines({"arch": member.arch, "photos": photos} | DASHCAM)


def _streetview_title(row: str, accuracy: float | None) -> str:
    if accuracy is None:
        return (
            "# ResNet50 as in row 4 of the Street View write-up's table, at the photos' full 662x1536.\n"
            "# No result is known: the write-up's table goes no further than 512.\n"
        )
    return (
        f"# ResNet50, row {row} of the Street View write-up's table. There: {accuracy:.2f} of the test photos\n"
        "# right, with 56 countries and about 34,000 photos; neither hardware nor time is stated.\n"
    )


def _command(name: str) -> str:
    return f"#\n#     whichland train MANIFEST --recipe recipes/{name}.toml --out runs/{name}\n"


def _lines(values: dict[str, Any]) -> str:
    """The settings given, as TOML, in the order of the class."""
    lines = to_toml(build(TrainConfig, values, "recipes")).splitlines(keepends=True)
    return "".join(line for line in lines if line.split(" = ")[0] in values)


def main() -> None:
    """Write the files, and remove those of cells that are no more."""
    FOLDER.mkdir(exist_ok=True)
    made = recipes()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for kind in ("dashcam-*.toml", "streetview-*.toml"):
        for file in FOLDER.glob(kind):
            if file.name not in made:
                file.unlink()
    print(f"{len(made)} recipes in {FOLDER.name}/")


if __name__ == "__main__":
    main()
