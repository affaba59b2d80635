"""Write a bundle's network for engines other than torch, and keep only what gives the same answers.

model.onnx       floating point; its logits are held against torch's
model.int8.onnx  8-bit integers, fitted on training photos and held against model.onnx on validation photos
OpenVINO         reads model.onnx; whether it may compute in bf16 is found on validation photos
gallery.parquet  training photos that the page may show beside an answer (see gallery)

What was written, and how well it agrees, stands in whichland.json (see export_record).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl

from whichland.config import AT_LEAST_1, BETWEEN_0_AND_1, Config
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.agreement import Agreement, agreement
from whichland.model.bundle import Bundle, load, read_settings
from whichland.model.engines import FLOAT_FILE, INT8_FILE, Run, torch_network
from whichland.model.export_photos import answers_of, crops_of, photos_of
from whichland.model.export_record import facts_of, keep_record, read_record, up_to_date
from whichland.model.exported import run_of
from whichland.model.gallery import FILE as GALLERY_FILE
from whichland.model.gallery import Shown, fits, photos_to_show, write_gallery
from whichland.model.model import Model
from whichland.model.model import load as open_model
from whichland.whole_file import file_sha256, whole_file

PARITY = 1e-3  # of the largest logit: what fp32 sums in another order may differ by
TRIED = 4  # made-up crops on which that is tested
TRIED_OF = 4  # one validation photo of so many chooses how much of int8 stays in floating point; the rest judge
STRICTER = 0.9  # of the bound, while choosing: what is chosen fares a little worse on others


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """What to write beside the floating-point network, and what it must keep of its answers."""

    int8: Annotated[bool, "also 8-bit integers; kept only if they agree on the validation photos"] = False
    openvino: Annotated[bool, "also find out whether OpenVINO may compute in bf16"] = False
    same: Annotated[
        float, "share of photos that must keep their first guess: low end of its interval", BETWEEN_0_AND_1
    ] = 0.9
    moved: Annotated[
        float, "share of the probabilities that may go to other countries, mean over photos", BETWEEN_0_AND_1
    ] = 0.06
    fit_on: Annotated[int, "training photos that int8 is fitted on, at most", AT_LEAST_1] = 200
    judge_on: Annotated[int, "validation photos that are judged on, at most", AT_LEAST_1] = 1000
    gallery: Annotated[
        Shown, "also thumbnails of training photos, for the page: those of open licences, or any you may show"
    ] = "none"
    gallery_photos: Annotated[int, "photos in the gallery, at most", AT_LEAST_1] = 2000
    force: Annotated[bool, "write anew, also over a file that was not exported from this bundle"] = False

    def good(self, found: Agreement) -> bool:
        """Tell whether so much agreement is enough."""
        return found.low >= self.same and found.moved <= self.moved

    def promising(self, found: Agreement) -> bool:
        """The same for the photos that choose, a little more strictly."""
        return self.good(found) and found.moved <= STRICTER * self.moved


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export left in the bundle."""

    bundle: Path
    written: tuple[str, ...]  # names of files; empty when all was there already
    record: dict[str, Any]  # what whichland.json has under "export"


def export(folder: str | Path, manifest: Manifest | None = None, config: ExportConfig | None = None) -> Exported:
    """Write a bundle's network as ONNX, into its folder; with `manifest` what needs photos, too.

    What lies there already and is up to date stays, but for a gallery, which is made anew when asked for. Raises
    UserError when `manifest` is missing or has no photos of train or val or none that may be shown, when a file
    stands in the way that was not exported, when the network cannot be exported or gives other logits than torch,
    and, after the rest was written, when int8 does not agree.
    """
    config, folder = config or ExportConfig(), Path(folder)
    if (config.int8 or config.openvino) and manifest is None:
        raise UserError("int8 and openvino are judged on validation photos: give their manifest with --photos")
    if config.gallery != "none" and manifest is None:
        raise UserError("a gallery shows training photos: give their manifest with --photos")
    record, facts, written = read_record(folder), facts_of(folder), []
    for name in (FLOAT_FILE, INT8_FILE, GALLERY_FILE):
        if (folder / name).exists() and name not in record["files"] and not config.force:
            raise UserError(f"{folder / name} was not exported from this bundle; write over it with --force")
    shown = None
    if manifest is not None and config.gallery != "none":
        labels = read_settings(folder).space
        shown = photos_to_show(manifest, labels, config.gallery, config.gallery_photos)
    if config.force or not up_to_date(folder, FLOAT_FILE, record, facts):
        record = _export_float(load(folder), facts)
        written.append(FLOAT_FILE)
    if shown is not None:
        made = write_gallery(open_model(folder, engine="onnx"), shown)
        record["files"][GALLERY_FILE] = made | {"gallery": config.gallery}
        keep_record(folder, record)
        written.append(GALLERY_FILE)
    if manifest is not None and (config.int8 or config.openvino):
        model = open_model(folder, engine="onnx")
        photos = photos_of(manifest, "val", model.space, config.judge_on)
        if config.openvino:
            record["openvino"] = _try_bf16(model, photos, config)
            keep_record(folder, record)
        if config.int8 and not up_to_date(folder, INT8_FILE, record, facts):
            fitted_on = photos_of(manifest, "train", model.space, config.fit_on)
            record["files"][INT8_FILE] = _try_int8(model, fitted_on, photos, config)
            keep_record(folder, record)
            written.append(INT8_FILE)
    return Exported(bundle=folder, written=tuple(written), record=record)


def _export_float(bundle: Bundle, facts: dict[str, str]) -> dict[str, Any]:
    """Write model.onnx and its record; what was made from an older one goes."""
    from whichland.model.onnx_graph import graph_of
    from whichland.model.onnx_int8 import logits_of

    path = bundle.folder / FLOAT_FILE
    graph = graph_of(bundle.model, bundle.preprocess, facts)
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (TRIED, *bundle.preprocess.size, 3), dtype=np.uint8)
    wanted_BK = torch_network(bundle)(crops)
    largest = float(np.abs(wanted_BK).max())
    with whole_file(path) as partial:
        partial.write_bytes(graph.SerializeToString())
        difference = float(np.abs(logits_of(partial, crops) - wanted_BK).max())
        if not difference <= PARITY * largest:  # also when it is no number
            raise UserError(
                f"{path} was not written: its logits differ from torch's by {difference:.2g}, the largest of "
                f"which is {largest:.2g}"
            )
    files = {FLOAT_FILE: {"sha256": file_sha256(path), "difference": difference, "largest": largest}}
    (bundle.folder / INT8_FILE).unlink(missing_ok=True)
    kept = read_record(bundle.folder)["files"].get(GALLERY_FILE)
    if kept and fits(bundle.folder):  # a new temperature leaves it as it is
        files[GALLERY_FILE] = kept
    else:
        (bundle.folder / GALLERY_FILE).unlink(missing_ok=True)
    record = {"opset": graph.opset_import[0].version, "metadata": facts, "files": files}
    keep_record(bundle.folder, record)
    return record


def _agreement(model: Model, photos: pl.DataFrame, run: Run) -> Agreement:
    """How far another way of running the network agrees with the model's on some photos."""
    networks = {"before": model.run, "after": run}
    logits, truth_N = answers_of(photos, model.preprocess, model.space, networks)
    return agreement(logits["before"], logits["after"], model.temperature, truth_N)


def _try_bf16(model: Model, photos: pl.DataFrame, config: ExportConfig) -> dict[str, Any]:
    """Find out whether OpenVINO may compute in bf16; return its part of the record."""
    from whichland.model.exported import open_at

    found = _agreement(model, photos, open_at(model.folder / FLOAT_FILE, "bf16"))
    return {"precision": "bf16" if config.good(found) else "f32", "bf16": asdict(found)}


def _try_int8(model: Model, fitted_on: pl.DataFrame, photos: pl.DataFrame, config: ExportConfig) -> dict[str, Any]:
    """Write model.int8.onnx if it agrees, and return its part of the record. Raises UserError if it does not."""
    from whichland.model import onnx_int8

    path, tried = model.folder / INT8_FILE, -(-photos.height // TRIED_OF)
    quantised = onnx_int8.quantise(
        model.folder / FLOAT_FILE,
        crops_of(fitted_on, model.preprocess),
        crops_of(photos[:tried], model.preprocess),
        model.temperature,
        config.promising,
        facts_of(model.folder),
    )
    with whole_file(path) as partial:
        partial.write_bytes(quantised.graph.SerializeToString())
        found = _agreement(model, photos[tried:], run_of(partial))
        if not config.good(found):
            raise UserError(
                f"no int8: {found}; asked for are {config.same:.0%} at the low end and at most "
                f"{config.moved:.0%} moved. {FLOAT_FILE} stays; loosen --same and --moved if that is good enough"
            )
    return {
        "sha256": file_sha256(path),
        "fitted_on": fitted_on.height,
        "layers": quantised.layers,
        "float_layers": quantised.float_layers,
        **asdict(found),
    }
