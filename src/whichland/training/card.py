"""The model card that travels in a bundle as README.md."""

from collections.abc import Mapping

from whichland.model.labels import LabelSpace
from whichland.training.config import TrainConfig


def card(labels: LabelSpace, config: TrainConfig, scores: Mapping[str, float], photos: int) -> str:
    """Markdown that says what the model is, how it was trained, how good it was, and what it is not for."""
    names = ", ".join(labels.described(code) for code in labels.codes)
    rows = "".join(f"| {name} | {value:.3f} |\n" for name, value in scores.items())
    seen = "These were seen while training; judge" if scores else "There were none; judge"
    results = f"| score | value |\n|---|---|\n{rows}\n" if scores else ""
    start = {"none": "random weights", "hub": "timm's pretrained weights"}.get(config.weights, "pretrained weights")
    return f"""# A model that tells the country of a street-level photo

Architecture `{config.arch}`, started from {start}, trained on {photos} photos of {len(labels)} countries:
{names}.

It knows no other country: a photo from elsewhere still gets one of these names.

## Scores on the validation photos

{results}{seen} the model with `whichland evaluate` on its test split.

## Use

    whichland predict BUNDLE photo.jpg

`config.json` and `model.safetensors` are in timm's form{_timm_line(config)}

## Not for

Locating people, identifying private homes, or as evidence of where a photo was taken. It gives probabilities for
whole countries, learnt from a sample of roads; it can be sure and wrong.
"""


def _timm_line(config: TrainConfig) -> str:
    if config.head or config.head_after == "logits":
        return "; the head has hidden layers, so load it with `whichland.load`."
    return ':\n\n    timm.create_model("local-dir:BUNDLE", pretrained=True)'
