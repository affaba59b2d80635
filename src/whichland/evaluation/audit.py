"""Look for shortcuts: marks of the rig, of files and of sources that a model may have learnt for a country.

Every check compares one number with what it would be without a shortcut, has a 95 % interval over groups, and ends
in a verdict. "Found" holds for the audit as a whole: where there is no shortcut, at most one audit in twenty says
found anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from numpy.typing import NDArray

import whichland
from whichland import manifest as manifests
from whichland.charts import track
from whichland.errors import UserError
from whichland.evaluation import figures
from whichland.evaluation.audit_checks import Audit, AuditConfig, Check, decided, largest_shown, numbers
from whichland.evaluation.audit_files import file_checks, read_photos, source_check
from whichland.evaluation.audit_rim import AREAS, area_check, draw_donors, look, mirror_check
from whichland.evaluation.predictions import Identity
from whichland.images.preprocess import Pixels
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import Bundle
from whichland.model.engines import best_device
from whichland.model.model import model_of
from whichland.statistics import FEWEST, Ints
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

NUMBERS = "audit.json"
SHOWN = 4  # countries with their mean photo under one check


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
    table.require("split", loaded.space.kind, "group", hint="make it with `whichland data split`")
    identity = Identity.of(loaded, table, split)
    folder = choose_folder(loaded.folder, Path(out) if out else None, identity)
    found = _audit(loaded, table, identity, folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(numbers(found), indent=2, ensure_ascii=False) + "\n"
    for path, content in ((folder / NUMBERS, text), (found.html, render(found))):
        with whole_file(path) as partial:
            partial.write_text(content, encoding="utf-8")
    return found


def choose_folder(bundle: Path, out: Path | None, identity: Identity) -> Path:
    """The folder to write to. Raises UserError when it holds the audit of something else."""
    folder = out or bundles.home(bundle) / "audit"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; --out names a folder")
    there = folder / NUMBERS
    if there.is_file():
        try:
            written = json.loads(there.read_text(encoding="utf-8"))
            ours = {name: written.get(name) for name in vars(identity)} == vars(identity)
        except (ValueError, AttributeError):  # not written by an audit
            ours = False
        if not ours:
            raise UserError(f"{folder} holds the audit of another bundle, manifest or split; choose another --out")
    return folder


def _audit(loaded: Bundle, table: Manifest, identity: Identity, folder: Path, config: AuditConfig) -> Audit:
    loaded.model.to(best_device())
    split, space = identity.split, loaded.space
    judged = read_photos(_drawn(table, split, loaded, config.photos), loaded.preprocess, crops=True)
    train = read_photos(_drawn(table, "train", loaded, config.train_photos), loaded.preprocess, crops=False)
    names = tuple(sorted(set(judged.frame["label"]) & set(train.frame["label"])))
    if len(names) < 2:
        wanted = f"photos of two {space.nouns} in {split!r} and in 'train'"
        raise UserError(f"an audit needs {wanted}; there are {len(names)}")
    judged, train = judged.of(names), train.of(names)
    assert judged.crops is not None
    sample = judged.sample(names)
    donor_N = draw_donors(sample.country, config.seed)
    columns = [loaded.labels.index(name) for name in names]
    grey = np.round(np.array(loaded.preprocess.mean) * 255).astype(np.uint8)
    changed = look(model_of(loaded).probabilities, judged.crops, donor_N, config.fill, grey, config.seed)
    plain_NK, mirrored_NK = (changed[name, 0][:, columns] for name in ("plain", "mirrored"))
    pieces_N = donor_N if config.fill == "other" else None
    checks = [
        *(area_check(area, changed, sample, columns, pieces_N) for area in AREAS),
        *file_checks(train, judged, plain_NK.argmax(axis=1), names),
        source_check(table, names, seed=config.seed, column=space.kind),
    ]
    checks = [largest_shown(check) if check.name in AREAS else check for check in decided(checks)]
    if space.has_countries:
        flipped = bool(loaded.info.train.get("flip", False))
        lands = replace(sample, names=tuple(str(space.named(name, "country")) for name in names))
        checks.append(mirror_check(plain_NK, mirrored_NK, lands, flipped=flipped))
    few_K = sample.groups_by_country < FEWEST
    return Audit(
        folder=folder,
        identity=identity,
        config=config,
        checks=tuple(checks),
        photos=len(sample.country),
        groups=int(sample.group.max()) + 1,
        countries=names,
        few=tuple(name for name, few in zip(names, few_K, strict=True) if few),
        unreadable=judged.unreadable + train.unreadable,
        top1=float((changed["plain", 0].argmax(axis=1) == np.array(columns)[sample.country]).mean()),
        space=space,
        pictures=_mean_pictures(judged.crops, sample.country, names),
    )


def _drawn(table: Manifest, split: str, bundle: Bundle, photos: int) -> pl.DataFrame:
    """Photos of a split whose `label` the model knows; of too many, the largest labels lose most."""
    rows = table.kept.with_columns(label=pl.col(bundle.space.kind))
    rows = rows.filter(pl.col("split") == split, pl.col("label").is_in(bundle.labels))
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos of the model's {bundle.space.nouns} in split {split!r}")
    if len(rows) > photos:
        name = pl.coalesce("group", "image_id")
        names = rows.select(name).to_series().unique()
        order = [hashlib.sha256(f"audit:{group}".encode()).hexdigest() for group in names]  # no meaning in it
        rows = rows.sort(name.replace_strict(names, order), "image_id")
        rows = rows.with_columns(pl.int_range(pl.len()).over("label").alias("_turn"))
        rows = rows.filter(pl.col("_turn") < max(int(rows["_turn"].sort()[photos]), 1)).drop("_turn")
    return rows.sort("image_id")


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


def render(found: Audit) -> str:
    """Fill the template; every text is escaped, every picture stands inside the file."""
    environment = templates_beside(__file__)
    environment.filters["percent"] = lambda share, digits=0: f"{share:.{digits}%}"
    environment.filters["points"] = lambda share: f"{share * 100:+.0f}".replace("-", "−")
    environment.globals["label_name"] = found.space.name
    # the interval on a line from `low` (0 or -1) to 1
    environment.globals["track"] = lambda score, tick, low: Markup(track(score, [(tick, False)], low=low))
    return environment.get_template("audit.html.j2").render(
        found=found, version=whichland.__version__, checks=[_shown(found, check) for check in found.checks]
    )


def _shown(found: Audit, check: Check) -> dict[str, Any]:
    """A check, its effects as a table of countries and kinds (the largest first), and its mean pictures."""
    kinds = list(dict.fromkeys(effect.what for effect in check.effects if effect.country))
    cells = {(effect.country, effect.what): effect for effect in check.effects if effect.country}
    rows = [(country, [cells.get((country, kind)) for kind in kinds]) for country in sorted({c for c, _ in cells})]
    rows.sort(key=lambda row: -max(cell.value for cell in row[1] if cell))
    return {"check": check, "kinds": kinds, "rows": rows, "pictures": _pictures(found, check)}


def _pictures(found: Audit, check: Check) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Where an area gives a country away: the mean of its photos and of their edges, beside those of all.

    A mean keeps sharp what stands at one place in every photo, and a blur is where edges are missing.
    """
    if not check.alarm or check.name not in AREAS or not check.countries:
        return []
    shown = [(code, found.space.name(code)) for code in check.countries[:SHOWN]]
    return [
        (caption, [figures.inline_image(_framed(picture, check.name), 320) for picture in found.pictures[code]])
        for code, caption in [*shown, ("", f"all {found.space.nouns}")]
    ]


def _framed(picture_HWC: Pixels, area: str) -> Pixels:
    """Draw the outline of an area into a picture, light on dark."""
    inside = AREAS[area].at(*picture_HWC.shape[:2])
    padded = np.pad(inside, 1, "edge")  # the picture's own rim is no outline
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    framed = picture_HWC.copy()
    framed[inside & ~around] = (255, 210, 60)
    return framed
