"""Write a bundle's network for engines other than torch, and keep only what gives the same answers.

model.onnx       floating point; its logits are held against torch's
model.int8.onnx  8-bit integers, fitted on training photos and held against model.onnx on validation photos
OpenVINO         reads model.onnx; whether it may compute in bf16 is found on validation photos
                 what agrees runs in turns, and the fastest is what `auto` takes
gallery.parquet  training photos that the page may show beside an answer (see gallery)

What was written, and how well it agrees, stands in whichland.json under "export":

{"opset": 20, "metadata": {…}, "files": {"model.onnx": {"sha256": …, "difference": …}, …}, "openvino": {…},
 "photos_per_second": {"onnx": …, "openvino": …}}
"""

import time
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.config import AT_LEAST_1, BETWEEN_0_AND_1, Config
from whichland.errors import UserError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.manifest import Manifest
from whichland.model.bundle import GALLERY, WEIGHTS, Bundle, Info, Settings, load, read_settings, update_info
from whichland.model.engines import (
    FLOAT_FILE,
    INT8_FILE,
    PARITY,
    Engine,
    Logits,
    Network,
    check_exported,
    description,
    exported_network,
    finite,
    onnx_session,
    open_openvino,
    run_of,
    torch_network,
    usable,
)
from whichland.model.gallery import Shown, fits, photos_to_show, rows_of, write_gallery
from whichland.model.model import Model, softmax
from whichland.model.model import load as open_model
from whichland.model.views import middles_ahead
from whichland.whole_file import file_sha256, whole_file

TRIED = 4  # made-up crops on which that is tested
TRIED_OF = 4  # one validation photo of so many chooses how much stays in floating point; the rest judge
FLOAT_FRONTS = (0, 3, 6, 12, 20)  # layers at the front that OpenVINO is to compute in f32 where the rest is in bf16
AS_RIGHT = 0.01  # share of photos by which fewer may be right, beside what chance does
Z = NormalDist().inv_cdf(0.975)
TIMED, TURNS = 16, 5  # crops in a batch that each engine runs in turns, and how often
STRICTER = 0.9  # of the bound, while choosing: what is chosen fares a little worse on others
BATCH = 16
MOST_BYTES = 256_000_000  # of crops that are held at once


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What a network kept of another's answers to the same photos."""

    photos: int
    same: float  # share of photos with the same first guess
    low: float  # its 95 % interval (Wilson 1927)
    high: float
    moved: float  # share of the probabilities that went to other countries (total variation), mean over the photos
    most_moved: float  # the same, of the photo where it is largest
    right: float | None = None  # share of photos with the right first guess, where the countries are known
    right_before: float | None = None

    def __str__(self) -> str:
        text = (
            f"same first guess on {self.same:.1%} [{self.low:.1%}, {self.high:.1%}] of {self.photos} photos, "
            f"{self.moved:.1%} of the probabilities moved ({self.most_moved:.1%} at most)"
        )
        if self.right is None or self.right_before is None:
            return text
        return f"{text}, {self.right:.1%} right (before: {self.right_before:.1%})"


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """What to write beside the floating-point network, and what it must keep of its answers."""

    int8: Annotated[bool, "also 8-bit integers; kept only if they agree on the validation photos"] = False
    openvino: Annotated[bool, "also OpenVINO, in bf16 where it agrees on the validation photos"] = False
    same: Annotated[
        float, "share of photos that must keep their first guess: low end of its interval", BETWEEN_0_AND_1
    ] = 0.85
    moved: Annotated[
        float, "share of the probabilities that may go to other countries, mean over photos", BETWEEN_0_AND_1
    ] = 0.03
    fit_on: Annotated[int, "training photos that int8 is fitted on, at most", AT_LEAST_1] = 200
    judge_on: Annotated[int, "validation photos that are judged on, at most", AT_LEAST_1] = 1000
    gallery: Annotated[
        Shown, "also thumbnails of training photos, for the page: those of open licences, or any you may show"
    ] = "none"
    gallery_photos: Annotated[int, "photos in the gallery, at most", AT_LEAST_1] = 2000
    force: Annotated[bool, "write anew, also over a file that was not exported from this bundle"] = False

    def good(self, found: Agreement, strictness: float = 1.0) -> bool:
        """Whether so much agreement is enough."""
        if found.right is not None and found.right_before is not None:
            by_chance = Z * sqrt((1 - found.same) / found.photos)  # what as many other guesses may lose, no worse
            if found.right < found.right_before - AS_RIGHT - by_chance:
                return False
        return found.low >= self.same and found.moved <= strictness * self.moved

    def photos_needed(self) -> int:
        """How many photos must all keep their first guess for the low end of Wilson's interval to reach `same`."""
        return ceil(self.same / (1 - self.same) * Z**2)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export left in the bundle."""

    bundle: Path
    written: tuple[str, ...]  # names of files; empty when all was there already
    record: dict[str, Any]  # what whichland.json has under "export"
    skipped: str = ""  # why something that was asked for was not tried


def export(folder: str | Path, manifest: Manifest | None = None, config: ExportConfig | None = None) -> Exported:
    """Write a bundle's network as ONNX, into its folder; with `manifest` what needs photos, too.

    What lies there already and is up to date stays, but for a gallery, which is made anew when asked for. Raises
    UserError when `manifest` is missing or has no photos of train or val or none that may be shown, when a file
    stands in the way that was not exported, when the network cannot be exported or gives other logits than torch,
    and, after the rest was written, when int8 does not agree.
    """
    config, folder = config or ExportConfig(), Path(folder)
    read = read_settings(folder)
    facts, record, written, skipped = _facts(read), read.info.record, [], ""
    there = all(_up_to_date(name, read, facts) for name in (FLOAT_FILE, INT8_FILE))
    int8 = config.int8 and (config.force or not there)
    if manifest is None and (int8 or config.openvino):
        raise UserError("int8 and openvino are judged on validation photos: give their manifest with --photos")
    if manifest is None and config.gallery != "none":
        raise UserError("a gallery shows training photos: give their manifest with --photos")
    for name in (FLOAT_FILE, INT8_FILE, GALLERY):
        if (folder / name).exists() and name not in record["files"] and not config.force:
            raise UserError(f"{folder / name} was not exported from this bundle; write over it with --force")
    shown = None
    if manifest is not None and config.gallery != "none":
        shown = photos_to_show(manifest, read.space, config.gallery, config.gallery_photos)
    if config.force or not _up_to_date(FLOAT_FILE, read, facts):
        record = _export_float(folder, facts)
        written.append(FLOAT_FILE)
    model = open_model(folder, engine="onnx") if manifest is not None else None
    if model is not None and shown is not None:
        record["files"][GALLERY] = write_gallery(model, shown) | {"gallery": config.gallery}
        _keep(folder, record)
        written.append(GALLERY)
    if model is not None and manifest is not None and (int8 or config.openvino):
        photos = _some_photos(manifest, "val", model, config.judge_on)
        if config.openvino:
            record["openvino"] = _try_bf16(model, photos, config)
        judges = photos.height - _choosing(photos)
        if int8 and judges < config.photos_needed():
            skipped = (
                f"no int8: {judges:,} validation photos cannot show that it keeps {config.same:.0%} of the answers, "
                f"which takes {config.photos_needed():,}"
            )
        elif int8:
            fitted_on = _some_photos(manifest, "train", model, config.fit_on)
            record["files"][INT8_FILE] = _try_int8(model, fitted_on, photos, config, facts)
            written.append(INT8_FILE)
        _keep(folder, record)
        record["photos_per_second"] = _speeds(read_settings(folder))
        _keep(folder, record)
    return Exported(bundle=folder, written=tuple(written), record=record, skipped=skipped)


def _facts(read: Settings) -> dict[str, str]:
    """What the exported files say of themselves: labels, preprocessing, temperature, licence, origin."""
    weights = read.folder / WEIGHTS
    if not weights.is_file():
        raise UserError(f"{weights} is missing; only a bundle with its weights can be exported")
    features = {"features": "what the head sees"} if read.has_features else {}
    return (
        description(read)
        | features
        | {
            "architecture": read.arch,
            "temperature": str(read.temperature),
            "weights_license": read.config["pretrained_cfg"].get("license") or "not stated",
            "weights_sha256": file_sha256(weights),
            "made_by": f"whichland {read.info.version}".strip(),
        }
    )


def _keep(folder: Path, record: dict[str, Any]) -> None:
    update_info(folder, Info(export=record), "export")


def _up_to_date(name: str, read: Settings, facts: dict[str, str]) -> bool:
    """Whether a file was exported from the bundle as it is now, and has not changed since."""
    try:
        check_exported(read.folder / name, read)
    except UserError:
        return False
    return bool(read.info.record.get("metadata") == facts)


def _export_float(folder: Path, facts: dict[str, str]) -> dict[str, Any]:
    """Write model.onnx and its record; what was made from an older one goes."""
    from whichland.model import onnx_files

    bundle, path = load(folder), folder / FLOAT_FILE
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (TRIED, *bundle.preprocess.size, 3), dtype=np.uint8)
    wanted_BK = finite(torch_network(bundle)(crops).logits)
    labels = len(bundle.space) if bundle.has_features else None
    graph = onnx_files.graph_of(bundle.model, bundle.preprocess, facts, labels=labels)
    largest = float(np.abs(wanted_BK).max())
    with whole_file(path) as partial:
        partial.write_bytes(graph.SerializeToString())
        difference = float(np.abs(onnx_files.logits_of(partial, crops) - wanted_BK).max())
        if not difference <= PARITY * largest:  # also when it is no number
            raise UserError(
                f"{path} was not written: its logits differ from torch's by {difference:.2g}, the largest of "
                f"which is {largest:.2g}"
            )
        if labels is not None:
            _check_features(onnx_session(partial), bundle, crops)
    files = {FLOAT_FILE: {"sha256": file_sha256(path), "difference": difference, "largest": largest}}
    (folder / INT8_FILE).unlink(missing_ok=True)
    kept = bundle.info.record["files"].get(GALLERY)
    if kept and fits(folder):  # a new temperature leaves it as it is
        files[GALLERY] = kept
    else:
        (folder / GALLERY).unlink(missing_ok=True)
    record = {"opset": graph.opset_import[0].version, "metadata": facts, "files": files}
    _keep(folder, record)
    return record


def _check_features(session: Any, bundle: Bundle, crops: Pixels) -> None:
    """Raise UserError unless an exported network's features are those of torch."""
    wanted_BF, found_BF = torch_network(bundle, features=True)(crops).features, run_of(session)(crops).features
    assert wanted_BF is not None
    assert found_BF is not None
    difference, largest = float(np.abs(found_BF - wanted_BF).max()), float(np.abs(wanted_BF).max())
    if not difference <= PARITY * largest:
        raise UserError(
            f"{bundle.folder / FLOAT_FILE} was not written: its features differ from torch's by {difference:.2g}, the "
            f"largest of which is {largest:.2g}"
        )


def _choosing(photos: pl.DataFrame) -> int:
    """How many of the validation photos choose how much stays in floating point; the others judge."""
    return ceil(photos.height / TRIED_OF)


def _try_int8(
    model: Model, fitted_on: pl.DataFrame, photos: pl.DataFrame, config: ExportConfig, facts: dict[str, str]
) -> dict[str, Any]:
    """Write model.int8.onnx if it agrees, and return its part of the record. Raises UserError if it does not."""
    from whichland.model import onnx_files

    path, tried = model.folder / INT8_FILE, _choosing(photos)
    quantised = onnx_files.quantise(
        model.folder / FLOAT_FILE,
        _crops_of(fitted_on, model.preprocess),
        _crops_of(photos[:tried], model.preprocess),
        lambda before_MK, after_MK: agreement(before_MK, after_MK, model.temperature),
        lambda found: config.good(found, STRICTER),
        facts,
    )
    with whole_file(path) as partial:
        partial.write_bytes(quantised.graph.SerializeToString())
        found = _agreement(model, photos[tried:], run_of(onnx_session(partial)))
        if not config.good(found):
            raise UserError(
                f"no int8: {found}; asked for are {config.same:.0%} at the low end, at most {config.moved:.0%} moved "
                f"and as many right. {FLOAT_FILE} stays; loosen --same and --moved if that is good enough"
            )
    layers = {"layers": quantised.layers, "float_layers": quantised.float_layers}
    return {"sha256": file_sha256(path), "fitted_on": fitted_on.height, **layers, **asdict(found)}


def _try_bf16(model: Model, photos: pl.DataFrame, config: ExportConfig) -> dict[str, Any]:
    """Whether OpenVINO may compute in bf16, and how many layers at the front it is to compute in f32 then.

    As for int8, a part of the photos chooses how many, and the rest judge.
    """
    path, tried = model.folder / FLOAT_FILE, _choosing(photos)
    for layers in FLOAT_FRONTS:
        run = open_openvino(path, "bf16", front=layers)
        if config.good(_agreement(model, photos[:tried], run), STRICTER):
            break
    found = _agreement(model, photos[tried:], run)
    return {"precision": "bf16" if config.good(found) else "f32", "float_layers": layers, "bf16": asdict(found)}


def _speeds(read: Settings) -> dict[str, float]:
    """Photos a second of each engine that agrees and is installed, on all cores, in turns: the median."""
    crops = np.random.default_rng(0).integers(0, 256, (TIMED, *read.preprocess.size, 3), dtype=np.uint8)
    engines: list[Engine] = ["onnx", "int8", "openvino"]
    int8 = INT8_FILE in read.info.record["files"] and read.novelty is None  # of which int8 says nothing
    known = {"int8": int8, "openvino": "openvino" in read.info.record}
    runs = {
        engine: exported_network(read, engine, None)
        for engine in engines
        if known.get(engine, True) and usable(read.folder, engine)
    }
    seconds: dict[Engine, list[float]] = {engine: [] for engine in runs}
    for turn in range(TURNS + 1):
        for engine, run in runs.items():
            begun = time.perf_counter()
            run(crops)
            if turn:  # the first makes what is kept
                seconds[engine].append(time.perf_counter() - begun)
    return {engine: round(TIMED / float(np.median(taken)), 1) for engine, taken in seconds.items()}


def _some_photos(manifest: Manifest, split: str, model: Model, most: int) -> pl.DataFrame:
    """Up to `most` photos of a split, the same ones at each call. Raises UserError when there are none."""
    rows = rows_of(manifest, split, model.space)
    return rows.sort("image_id").sample(min(most, rows.height), shuffle=True, seed=0)


def _crops_of(photos: pl.DataFrame, preprocess: Preprocess) -> Pixels:
    """The readable photos' crops, N×H×W×3, as many as `MOST_BYTES` allow. Raises UserError when there are none."""
    height, width = preprocess.size
    some = photos["uri"].head(max(1, MOST_BYTES // (height * width * 3))).to_list()
    found = [crops for _, crops in middles_ahead(some, preprocess, BATCH, "reading photos for int8")]
    if not found:
        raise UserError(f"no photo can be read to make int8, of {photos.height}; choose others with --photos")
    return np.concatenate(found)


def _agreement(model: Model, photos: pl.DataFrame, run: Network) -> Agreement:
    """How far another way of running the network agrees with the model's on the readable photos."""
    uris, own_N = photos["uri"].to_list(), np.array([model.space.index[code] for code in photos[model.space.kind]])
    batches = middles_ahead(uris, model.preprocess, BATCH, "judging the exported networks")
    found = [(model.run(crops), run(crops).logits, own_N[rows]) for rows, crops in batches]
    if not found:
        raise UserError(f"none of the {photos.height} validation photos can be read")
    before_NK, after_NK, truth_N = map(np.concatenate, zip(*found, strict=True))
    return agreement(before_NK, after_NK, model.temperature, truth_N)


def agreement(
    before_NK: Logits, after_NK: Logits, temperature: float, truth_N: NDArray[np.int64] | None = None
) -> Agreement:
    """Hold one network's logits against another's, at the bundle's temperature."""
    from scipy.stats import binomtest

    first_N, other_N = before_NK.argmax(axis=1), after_NK.argmax(axis=1)
    moved_N = np.abs(softmax(before_NK, temperature) - softmax(after_NK, temperature)).sum(axis=1) / 2
    interval = binomtest(int((first_N == other_N).sum()), len(first_N)).proportion_ci(method="wilson")
    return Agreement(
        photos=len(first_N),
        same=float((first_N == other_N).mean()),
        low=float(interval.low),
        high=float(interval.high),
        moved=float(moved_N.mean()),
        most_moved=float(moved_N.max()),
        right=None if truth_N is None else float((other_N == truth_N).mean()),
        right_before=None if truth_N is None else float((first_N == truth_N).mean()),
    )
