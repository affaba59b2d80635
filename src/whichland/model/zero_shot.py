"""Bundles that need no photos: a model of image and text, its head the embeddings of prompts that name each country.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020, section
3.1.4: a label's direction is the mean over prompts. Here it is the mean over a country's names as well.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from whichland import __version__, geo
from whichland.errors import UserError
from whichland.geo.countries import COUNTRIES, find_country
from whichland.model import bundle as bundles
from whichland.model.bundle import Info
from whichland.model.clip import image_tower, read_clip
from whichland.model.hub_bundles import fetched
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.progress import Progress

PROMPTS = (
    "a street view photo taken in {country}",
    "a street view image from {country}",
    "a photo of a street in {country}",
    "a photo taken from a car while driving through {country}",
    "a dashcam photo of a road in {country}",
    "a road in the countryside of {country}",
    "houses along a road in {country}",
    "road signs and traffic in {country}",
    "a typical {adjective} street",
    "a {adjective} road seen from a car",
)
_FILES = ("*.json", "*.txt", "*.model", "tokenizer*")
_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")


def make(model: str, out: Path, *, names: Sequence[str] = (), prompts: Sequence[str] = PROMPTS) -> Path:
    """Write a bundle that knows countries by their names; `model` is a folder or hub:OWNER/NAME[@REVISION].

    `names` are codes or names of countries, all of them when empty; each prompt has {country} or {adjective}.
    Raises UserError for a model that cannot be had or read, unknown countries, prompts without a place for a name,
    and an `out` that exists.
    """
    if out.exists():
        raise UserError(f"{out} already exists; choose another --out")
    _check_prompts(prompts)
    space = countries(_codes(names))
    clip = read_clip(clip_folder(model))
    directions = []
    with Progress("embedding prompts", len(space), unit="labels") as bar:
        for code in space.codes:
            directions.append(clip.embed(texts_of(code, prompts)))
            bar.advance()
    tower = image_tower(clip, torch.stack(directions))
    info = Info(
        version=__version__, cosine=tower.cosine, zero_shot={"model": model, "prompts": list(prompts)}, photos=0
    )
    return bundles.save(
        out,
        model=tower.model,
        arch=tower.arch,
        model_args=tower.model_args,
        pretrained_cfg=tower.pretrained_cfg,
        space=located(space),
        info=info,
        metrics={},
        card=_card(model, tower.arch, len(space), prompts),
    )


def clip_folder(model: str) -> Path:
    """The folder of a model of image and text, fetched from the hub where it is there. Raises UserError."""
    if not model.startswith("hub:"):
        if not Path(model).is_dir():
            raise UserError(f"{model}: no such folder; give one, or hub:OWNER/NAME of a model of image and text")
        return Path(model)
    return fetched(model, _FILES, _WEIGHTS)


def texts_of(code: str, prompts: Sequence[str]) -> list[str]:
    """The prompts for one country; those with {adjective} are left out where English has none in use.

    >>> texts_of("NL", ("a road in {country}", "a {adjective} road"))
    ['a road in the Netherlands', 'a Dutch road']
    """
    article, adjective = _wording().get(code, ("", ""))
    name = f"{article} {COUNTRIES[code].name}".strip()
    usable = [prompt for prompt in prompts if adjective or "{adjective}" not in prompt]
    return [prompt.replace("{country}", name).replace("{adjective}", adjective) for prompt in usable]


@cache
def _wording() -> dict[str, tuple[str, str]]:
    """Of the countries that have one: the article before the name, and the adjective."""
    with Path(geo.__file__).with_name("wording.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: (row["article"], row["adjective"]) for row in csv.DictReader(file)}


def read_prompts(file: Path) -> tuple[str, ...]:
    """One prompt a line; empty lines and those that begin with # do not count. Raises UserError for none."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: no readable text ({error})") from None
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if not prompts:
        raise UserError(f"{file}: holds no prompt; write one a line, such as: {PROMPTS[0]}")
    return prompts


def _check_prompts(prompts: Sequence[str]) -> None:
    bare = [prompt for prompt in prompts if "{country}" not in prompt and "{adjective}" not in prompt]
    if bare:
        raise UserError(f"prompt {bare[0]!r} names no country; write {{country}} or {{adjective}} where it belongs")
    if all("{adjective}" in prompt for prompt in prompts):
        raise UserError("no prompt has {country}, and not every country has an adjective; add one")


def _codes(given: Sequence[str]) -> list[str]:
    """The codes of countries that were given by code or name; all of them for none."""
    if not given or list(given) == ["all"]:
        return sorted(COUNTRIES)
    found = {text: find_country(text, among_codes=True) for text in given}
    unknown = [text for text, code in found.items() if code is None]
    if unknown:
        raise UserError(f"--countries: {unknown[0]!r} is no country; give codes or names, such as FR,Japan")
    codes = sorted({code for code in found.values() if code})
    if len(codes) < 2:
        raise UserError("--countries: a model needs at least two to choose from")
    return codes


def _card(model: str, arch: str, count: int, prompts: Sequence[str]) -> str:
    lines = "\n".join(f"- {prompt}" for prompt in prompts)
    return f"""# A model that names the country of a street-level photo, untrained

The image tower of `{model}` (timm's `{arch}`) with a head that compares a photo with the names of {count} countries.
No photo with a known country was used, so there is no score here: judge it with `whichland evaluate` on photos whose
country is known, and calibrate it with `whichland calibrate` before its probabilities are believed.

The licence of `{model}` holds for these weights.

## Prompts

{lines}

## Use

    whichland predict BUNDLE photo.jpg

## Not for

Locating people, identifying private homes, or as evidence of where a photo was taken. It gives probabilities for
whole countries, learnt from pictures and captions of the web; it can be sure and wrong.
"""
