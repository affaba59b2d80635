"""The answers of a bundle to one split of a manifest: a table beside the report, so that no photo is asked twice.

One row a photo: image_id, uri, the truth in a column named for what the labels are (country), group, probabilities
in the order of the labels.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.split import difference
from whichland.errors import UserError
from whichland.evaluation.metrics import Outcomes
from whichland.images.containers import require_files
from whichland.manifest import CREDIT, Manifest
from whichland.model.bundle import Bundle, Info, bundle_hash
from whichland.model.engines import best_device
from whichland.model.labels import LabelSpace
from whichland.model.model import model_of
from whichland.model.views import combined
from whichland.statistics import Ints, group_numbers
from whichland.whole_file import whole_file

FILE = "predictions.parquet"
IDENTITY_KEY = "whichland.predictions"
VIEWS = "auto"  # how photos are seen; 0.1 saw only the middle of wide ones, so its answers are asked for again
Per = Literal["photo", "panorama"]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What answers depend on; equal identities, equal answers."""

    bundle_sha256: str
    manifest_sha256: str
    split: str

    @classmethod
    def of(cls, bundle: Bundle, manifest: Manifest, split: str) -> "Identity":
        digest = manifest.digest(bundle.space.kind)
        return cls(bundle_sha256=bundle_hash(bundle.folder), manifest_sha256=digest, split=split)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The answers, and what of the split was left out of them."""

    identity: Identity
    space: LabelSpace
    frame: pl.DataFrame  # one row a photo that was answered
    probabilities: NDArray[np.float32]  # N×K
    unknown: dict[str, int]  # photos of labels that the model does not know, by label
    unplaced: int  # photos without a label
    unreadable: dict[str, str]  # image_id → reason
    per: Per = "photo"  # what a row is
    views: int = 0  # photos that were combined into panoramas

    @property
    def labels(self) -> tuple[str, ...]:
        """The codes of the model's labels, in the order of the probabilities."""
        return self.space.codes

    @property
    def truth(self) -> Ints:
        """Number of each photo's label."""
        return np.array([self.space.index[code] for code in self.frame[self.space.kind]], np.int64)

    @property
    def outcomes(self) -> Outcomes:
        return Outcomes.from_probabilities(self.truth, self.probabilities)

    @property
    def groups(self) -> Ints:
        """Number of each photo's group; a photo without one is a group of its own."""
        return group_numbers(self.frame["group"].to_list())

    def at(self, level: str) -> "Predictions":
        """The same added up to a level of the labels, see `LabelSpace.roll_up`."""
        space, probs_NP = self.space.roll_up(self.probabilities, level)
        truth = pl.Series(level, [space.codes[at] for at in self.space.numbers_at(level)[self.truth]], dtype=pl.String)
        return replace(self, space=space, frame=self.frame.with_columns(truth), probabilities=probs_NP)

    def per_panorama(self) -> "Predictions":
        """One answer a panorama: the mean of its views' log probabilities, normalised.

        A photo that is no view stays as it is; of a panorama's rows the first stands for all. Raises UserError
        when no photo is a view.
        """
        if self.frame["panorama"].null_count() == self.frame.height:
            raise UserError("none of these photos is a view of a panorama; leave out --per")
        names = self.frame.select(pl.coalesce("panorama", "image_id")).to_series().to_list()
        panorama_N = group_numbers(names)
        _, first_P = np.unique(panorama_N, return_index=True)
        order_N, ends_P = np.argsort(panorama_N, kind="stable"), np.cumsum(np.bincount(panorama_N))
        probs_PK = np.stack([combined(of) for of in np.split(self.probabilities[order_N], ends_P[:-1])])
        return replace(self, frame=self.frame[first_P], probabilities=probs_PK, per="panorama", views=self.frame.height)


def doubt_about(info: Info, manifest: Manifest, manifest_sha256: str) -> str | None:
    """Why a manifest's photos may not be new to a model, in one line; else None."""
    if info.zero_shot:
        return "what the model's image tower was trained on is not known: these photos may be among it"
    differs = difference(info.split_certificate, manifest)
    if differs is None and info.manifest_sha256 != manifest_sha256:
        return "this is not the manifest the model was trained from: photos may have been trained on"
    return differs


def collect(bundle: Bundle, manifest: Manifest, identity: Identity, folder: Path) -> tuple[Predictions, bool]:
    """Answer every kept photo of the split whose label the model knows; return (answers, whether asked anew).

    Answers that lie in `folder` with the same identity are taken from there. Truth and groups always come from
    the manifest. Raises UserError when the split has nothing to judge.
    """
    hint = "make it with `whichland data split`"
    column = bundle.space.kind
    manifest.require("split", column, hint=hint)
    rows = manifest.kept.filter(pl.col("split") == identity.split)
    known = rows.filter(pl.col(column).is_in(bundle.labels))
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos in split {identity.split!r}; {hint}")
    if known.is_empty():
        raise UserError(f"no photo of split {identity.split!r} shows a {column} it knows, of {rows.height:,}")
    answers = _cached(folder, identity)
    probabilities, errors = answers or _ask(bundle, known)
    shown = [name for name in ("group", "panorama", *CREDIT) if name in known.columns]
    table = known.filter(~pl.col("image_id").is_in(list(errors))).select("image_id", "uri", column, *shown)
    if table.is_empty():
        raise UserError(f"no photo can be read, of {known.height:,}: {next(iter(errors.values()))}")
    if "group" not in shown:
        table = table.with_columns(group=pl.lit(None, pl.String))
    strange = rows[column].drop_nulls().filter(~rows[column].drop_nulls().is_in(bundle.labels))
    found = Predictions(
        identity=identity,
        space=bundle.space,
        frame=table,
        probabilities=np.stack([probabilities[image] for image in table["image_id"]]),
        unknown=dict(strange.value_counts(sort=True).iter_rows()),
        unplaced=rows[column].null_count(),
        unreadable=errors,
    )
    _write(found, folder / FILE)
    return found, answers is None


Answers = tuple[dict[str, NDArray[np.float32]], dict[str, str]]  # probabilities and errors, by image_id


def _ask(bundle: Bundle, known: pl.DataFrame) -> Answers:
    require_files(known["uri"].to_list())
    bundle.model.to(best_device())
    answers = dict(zip(known["image_id"], model_of(bundle).predict(known["uri"], progress=True), strict=True))
    errors = {image: str(answer.error) for image, answer in answers.items() if answer.error is not None}
    return {image: answer.probabilities for image, answer in answers.items() if image not in errors}, errors


def metadata(folder: Path) -> dict[str, Any]:
    """What the answers in a report folder say of themselves: identity, labels and more; nothing where none lie there.

    Raises UserError when they cannot be read.
    """
    try:
        found = pl.read_parquet_metadata(folder / FILE).get(IDENTITY_KEY) if (folder / FILE).is_file() else None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / FILE}: not readable ({reason}); remove it or choose another --out") from None
    return json.loads(found) if found else {}


def identity_of(folder: Path) -> Identity | None:
    """The identity of the answers in a report folder; None when it holds none."""
    written = metadata(folder)
    return Identity(**written["identity"]) if written else None


def _cached(folder: Path, identity: Identity) -> Answers | None:
    written = metadata(folder)
    if identity_of(folder) != identity or written.get("views") != VIEWS:
        return None
    table = pl.read_parquet(folder / FILE, glob=False, columns=["image_id", "probabilities"])
    return dict(zip(table["image_id"], table["probabilities"].to_numpy(), strict=True)), written["unreadable"]


def _write(found: Predictions, path: Path) -> None:
    """Write the answers as Parquet, atomically; labels and identity stand in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {
        "identity": vars(found.identity),
        "views": VIEWS,
        "kind": found.space.kind,
        "labels": found.labels,
        "unreadable": found.unreadable,
    }
    shape = pl.Array(pl.Float32, len(found.labels))
    table = found.frame.with_columns(pl.Series("probabilities", found.probabilities, dtype=shape))
    with whole_file(path) as partial:
        table.write_parquet(partial, metadata={IDENTITY_KEY: json.dumps(written)})
