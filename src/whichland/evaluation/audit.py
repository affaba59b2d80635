"""Look for shortcuts: marks of the rig, of files and of sources that a model may have learnt for a country.

Every check compares one number with what it would be without a shortcut, has a 95 % interval over groups, and ends
in a verdict. "Found" holds for the audit as a whole: where there is no shortcut, at most one audit in twenty says
found anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland import manifest as manifests
from whichland.errors import UserError
from whichland.evaluation import audit_alone as alone
from whichland.evaluation.audit_alone import Photos, read_photos
from whichland.evaluation.audit_areas import AREAS, Views, area_check, draw_donors, look
from whichland.evaluation.audit_config import AuditConfig
from whichland.evaluation.audit_effects import MIN_GROUPS, Check, adjust, verdict
from whichland.evaluation.audit_mirror import mirror_check
from whichland.evaluation.audit_sources import source_check
from whichland.evaluation.predictions import Identity
from whichland.images.preprocess import Pixels
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import Bundle
from whichland.model.engines import best_device
from whichland.model.model import model_of
from whichland.statistics import group_numbers
from whichland.whole_file import whole_file

PAGE, NUMBERS = "audit.html", "audit.json"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found; audit.html and audit.json lie in `folder`."""

    folder: Path
    identity: Identity
    config: AuditConfig
    checks: tuple[Check, ...]
    photos: int
    groups: int
    countries: tuple[str, ...]  # with photos
    few: tuple[str, ...]  # of them, those with too few groups to be tested alone
    unreadable: int
    top1: float
    pictures: dict[str, tuple[Pixels, Pixels]] = field(repr=False)  # mean photo and edges by country; "": of all

    @property
    def html(self) -> Path:
        return self.folder / PAGE

    @property
    def alarms(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.alarm)


def audit(
    bundle: str | Path,
    manifest: Manifest | str | Path,
    split: str = "val",
    out: str | Path | None = None,
    config: AuditConfig | None = None,
) -> Audit:
    """Look for shortcuts of the model in a bundle on the kept photos of a split, and write the page.

    Without `out` the page goes into `audit` beside the bundle. The photos' crops are held in memory: a thousand of
    352 pixels a side take 370 MB. Raises UserError when `out` holds another audit, or the split or the training
    split has too little to say anything.
    """
    config = config or AuditConfig()
    loaded = bundles.load(bundle)
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    table.require("split", "country", "group", hint="make it with `whichland data split`")
    identity = Identity.of(loaded, table, split)
    folder = choose_folder(loaded.folder, Path(out) if out else None, identity)
    found = _audit(loaded, table, identity, folder, config)
    _write(found)
    return found


def choose_folder(bundle: Path, out: Path | None, identity: Identity) -> Path:
    """The folder to write to. Raises UserError when it holds the audit of something else."""
    folder = out or bundle.resolve().parent / "audit"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; --out names a folder")
    there = folder / NUMBERS
    if there.is_file() and not _of(there, identity):
        raise UserError(f"{folder} holds the audit of another bundle, manifest or split; choose another --out")
    return folder


def _of(there: Path, identity: Identity) -> bool:
    try:
        written = json.loads(there.read_text(encoding="utf-8"))
        return {name: written[name] for name in vars(identity)} == vars(identity)
    except (ValueError, KeyError, TypeError):
        return False


def _audit(loaded: Bundle, table: Manifest, identity: Identity, folder: Path, config: AuditConfig) -> Audit:
    loaded.model.to(best_device())
    split = identity.split
    judged = read_photos(_drawn(table, split, loaded, config.photos), loaded.preprocess, crops=True)
    train = read_photos(_drawn(table, "train", loaded, config.train_photos), loaded.preprocess, crops=False)
    names = tuple(sorted(set(judged.frame["country"]) & set(train.frame["country"])))
    if len(names) < 2:
        raise UserError(f"an audit needs photos of two countries in {split!r} and in 'train'; there are {len(names)}")
    judged, train = judged.of(names), train.of(names)
    assert judged.crops is not None
    truth_N, group_N = _numbers(judged, names)
    donor_N = draw_donors(truth_N, config.seed)
    columns = [loaded.labels.index(name) for name in names]
    views = look(model_of(loaded).probabilities, judged.crops, donor_N, config.fill, _grey(loaded), config.seed)
    checks = [
        *_area_checks(views, truth_N, group_N, donor_N if config.fill == "other" else None, columns, names),
        *_alone_checks(train, judged, views.plain[:, columns].argmax(axis=1), names),
        source_check(table, names, seed=config.seed),
    ]
    checks = _decided(checks)
    flipped = bool(loaded.info.train.get("flip", False))
    checks.append(
        mirror_check(views.plain[:, columns], views.mirrored[:, columns], truth_N, group_N, names, flipped=flipped)
    )
    sizes = [len(np.unique(group_N[truth_N == at])) for at in range(len(names))]
    return Audit(
        folder=folder,
        identity=identity,
        config=config,
        checks=tuple(checks),
        photos=len(truth_N),
        groups=int(group_N.max()) + 1,
        countries=names,
        few=tuple(name for name, groups in zip(names, sizes, strict=True) if groups < MIN_GROUPS),
        unreadable=judged.unreadable + train.unreadable,
        top1=float((views.plain.argmax(axis=1) == np.array(columns)[truth_N]).mean()),
        pictures=_mean_pictures(judged.crops, truth_N, names),
    )


def _drawn(table: Manifest, split: str, bundle: Bundle, photos: int) -> pl.DataFrame:
    """Photos of a split, of countries the model knows; of too many, the largest countries lose most."""
    rows = table.kept.filter(pl.col("split") == split, pl.col("country").is_in(list(bundle.labels)))
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos of the model's countries in split {split!r}")
    if len(rows) > photos:
        name = pl.coalesce("group", "image_id")
        names = rows.select(name).to_series().unique()
        order = [hashlib.sha256(f"audit:{group}".encode()).hexdigest() for group in names]  # no meaning in it
        rows = rows.sort(name.replace_strict(names, order), "image_id")
        rows = rows.with_columns(pl.int_range(pl.len()).over("country").alias("_turn"))
        rows = rows.filter(pl.col("_turn") < max(int(rows["_turn"].sort()[photos]), 1)).drop("_turn")
    return rows.sort("image_id")


def _numbers(photos: Photos, names: Sequence[str]) -> tuple[Ints, Ints]:
    """The number of each photo's country in `names`, and of its group."""
    index = {name: at for at, name in enumerate(names)}
    truth = [index[country] for country in photos.frame["country"]]
    return np.array(truth, np.int64), group_numbers(photos.frame["group"].to_list())


def _grey(bundle: Bundle) -> Pixels:
    return np.round(np.array(bundle.preprocess.mean) * 255).astype(np.uint8)


def _area_checks(
    views: Views, truth_N: Ints, group_N: Ints, donor_N: Ints | None, columns: Sequence[int], names: Sequence[str]
) -> list[Check]:
    own_N = np.array(columns)[truth_N]

    def top1(probs_NK: Floats) -> float:
        return float((probs_NK.argmax(axis=1) == own_N).mean())

    return [
        area_check(
            name,
            [top1(probabilities) for probabilities in (views.plain, views.replaced[name], *views.elsewhere[name])],
            views.replaced[name][:, columns],
            [probabilities[:, columns] for probabilities in views.elsewhere[name]],
            truth_N,
            group_N,
            donor_N,
            names,
        )
        for name in AREAS
    ]


def _alone_checks(train: Photos, judged: Photos, model_N: Ints, names: Sequence[str]) -> list[Check]:
    """What can be told without looking at the street."""
    truth_T, group_T = _numbers(train, names)
    truth_N, group_N = _numbers(judged, names)
    chance = 1 / len(np.unique(truth_N))
    common: Any = {"measure": "balanced accuracy", "null": chance, "against": "chance"}
    thumb_N = alone.thumbnail_guesses(train, truth_T, group_T, judged)
    header_N, leaned = alone.forest_guesses(alone.header_table(train), truth_T, alone.header_table(judged))
    size_N, _ = alone.forest_guesses(alone.size_table(train, anew=False), truth_T, alone.size_table(judged, anew=False))
    anew_N, _ = alone.forest_guesses(alone.size_table(train, anew=True), truth_T, alone.size_table(judged, anew=True))
    model, anew = alone.balanced(model_N, truth_N, group_N), alone.balanced(anew_N, truth_N, group_N)
    return [
        Check(
            name="thumbnail",
            title="16×16 thumbnail alone",
            asks="Does a linear model on thumbnails get nearly as far as the model?",
            score=alone.balanced(thumb_N, truth_N, group_N),
            effects=tuple(alone.thumbnail_effect(thumb_N, model_N, truth_N, group_N, names)),
            facts=(("the model", str(model)), ("chance", f"{chance:.1%}")),
            **common,
        ),
        Check(
            name="file",
            title="file's header alone",
            asks="Do size in pixels, JPEG tables and layout of the file tell the country?",
            score=alone.balanced(header_N, truth_N, group_N),
            effects=tuple(alone.file_effects(header_N, truth_N, group_N, names)),
            facts=(("it leans on", ", ".join(leaned) or "nothing"),),
            **common,
        ),
        Check(
            name="bytes",
            title="number of bytes alone",
            asks="Does the file's size tell more than the same pixels written anew would?",
            score=alone.balanced(size_N, truth_N, group_N),
            effects=tuple(alone.size_effects(size_N, anew_N, truth_N, group_N, names)),
            facts=(("same pixels, all written alike", str(anew)),),
            **common | {"null": max(anew.value, chance), "against": "the same pixels, all written alike"},
        ),
    ]


def _decided(checks: Sequence[Check]) -> list[Check]:
    """Holm over all checks, then each one's verdict and what it says."""
    decided = []
    for check, effects in zip(checks, adjust([check.effects for check in checks]), strict=True):
        if effects:
            check = replace(check, effects=effects, verdict=verdict(effects))
            check = replace(check, says=_says(check))
            if check.name in AREAS:
                check = replace(check, **_largest(check))
        elif not check.says:
            check = replace(check, says=f"no country has {MIN_GROUPS} groups")
        if check.verdict == "found" and check.unless:
            check = replace(check, verdict="cannot be told", says=f"{check.says}, but {check.unless}")
        decided.append(check)
    return decided


def _largest(check: Check) -> dict[str, Any]:
    """What an area's row shows: the mean over the countries would hide a single marked one."""
    shown = max(check.effects, key=lambda effect: (effect.found, effect.value))
    where = f"most in {shown.country}" if shown.country else "on average"
    return {"score": shown.score, "measure": f"{shown.what} beyond elsewhere, {where}"}


def _says(check: Check) -> str:
    found = sorted((effect for effect in check.effects if effect.found), key=lambda effect: -effect.value)
    if found:
        shown = [f"{e.country or 'on average'} {e.value * 100:+.0f} points {e.what}" for e in found[:4]]
        return ", ".join(shown) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    open_ = [effect for effect in check.effects if not effect.excluded]
    if not open_:
        return "ruled out for every country that was tested"
    where = list(dict.fromkeys(effect.country or "the average" for effect in open_))
    return f"too few photos to rule it out for {', '.join(where[:6])}" + (
        f" and {len(where) - 6} more" if len(where) > 6 else ""
    )


def _mean_pictures(crops_NHWC: Pixels, truth_N: Ints, names: Sequence[str]) -> dict[str, tuple[Pixels, Pixels]]:
    """The mean photo and the mean of the edges in it, of each country and of all (""); edges on one scale."""
    shape = (len(names), *crops_NHWC.shape[1:])
    sums_KHWC, edges_KHW = np.zeros(shape), np.zeros(shape[:-1])
    for crop, country in zip(crops_NHWC, truth_N.tolist(), strict=True):  # all at once would take gigabytes
        sums_KHWC[country] += crop
        edges_KHW[country] += _edges(crop)
    photos_K = np.bincount(truth_N, minlength=len(names)).astype(float)
    scale = 255 * photos_K.sum() / max(float(np.quantile(edges_KHW.sum(axis=0), 0.99)), 1.0)

    def shown(rows: list[int]) -> tuple[Pixels, Pixels]:
        count = photos_K[rows].sum()
        edges = np.clip(edges_KHW[rows].sum(axis=0) / count * scale, 0, 255).astype(np.uint8)
        return np.round(sums_KHWC[rows].sum(axis=0) / count).astype(np.uint8), np.dstack([edges] * 3)

    every = list(range(len(names)))
    return {"": shown(every)} | {name: shown([at]) for at, name in enumerate(names) if photos_K[at]}


def _edges(crop_HWC: Pixels) -> NDArray[np.float32]:
    """How much neighbouring pixels differ, H×W."""
    luma = crop_HWC.mean(axis=2, dtype=np.float32)
    down, across = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
    edges: NDArray[np.float32] = np.pad(down, ((0, 1), (0, 0)), "edge")
    edges += np.pad(across, ((0, 0), (0, 1)), "edge")
    return edges


def numbers(found: Audit) -> dict[str, Any]:
    """Everything an audit says, ready for JSON."""
    return {
        **asdict(found.identity),
        "config": asdict(found.config),
        "photos": found.photos,
        "groups": found.groups,
        "countries": found.countries,
        "countries_with_few_groups": found.few,
        "unreadable": found.unreadable,
        "top1": found.top1,
        "shortcuts_found": [check.name for check in found.alarms],
        "checks": [asdict(check) | {"found_in": check.countries, "facts": dict(check.facts)} for check in found.checks],
    }


def _write(found: Audit) -> None:
    from whichland.evaluation.audit_page import render

    found.folder.mkdir(parents=True, exist_ok=True)
    texts = {NUMBERS: json.dumps(numbers(found), indent=2, ensure_ascii=False) + "\n", PAGE: render(found)}
    for name, text in texts.items():
        with whole_file(found.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
