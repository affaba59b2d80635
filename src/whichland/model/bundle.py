"""The one artefact: a folder that anyone can load, with timm alone when the head is a plain layer.

config.json         timm's own form: architecture, label_names, pretrained_cfg, model_args
model.safetensors   weights; pickle is never read nor written
whichland.json      version, head widths, training config, manifest sha256, packages, seed: see `Info`
labels.json         names of the labels, what they lie in, where they are photographed: see model/labels.py
metrics.json        validation scores; README.md is the model card
record.json         how often its answers were right, on photos it was not trained on: see model/record.py
model.onnx          once exported: the network for other engines than torch, see model/engines.py
novelty.npz         how unlike the training photos a photo is, see model/novelty.py
gallery.parquet     once exported: training photos that may be shown, see model/gallery.py

Torch is imported where weights are read or written, so that a bundle's JSON files can be read without it.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from whichland.errors import UserError, first_line
from whichland.images.preprocess import Preprocess
from whichland.model.calibration import Calibration
from whichland.model.choices import Cosine
from whichland.model.labels import FILE as LABELS
from whichland.model.labels import OLD_FILE as OLD_LABELS
from whichland.model.labels import LabelSpace, labels_text, read_labels
from whichland.model.novelty import Novelty, read_novelty
from whichland.model.pins import PinTable, pin_table
from whichland.whole_file import file_sha256, usual_permissions, whole_file

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, INFO, GALLERY = "model.safetensors", "whichland.json", "gallery.parquet"
DRAWN = "synthetic"  # the source of drawn scenes in a manifest
CAUTION = "this model was trained on drawn streets alone: what it says of a real photo means nothing"


class Info(BaseModel):
    """The entries of whichland.json; those that this version does not know are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    version: str = ""  # of whichland, that trained it
    temperature: Annotated[float, Field(gt=0)] = 1.0  # logits are divided by it
    calibration: Calibration | None = None  # None: not calibrated
    head: tuple[int, ...] = ()  # widths of the head's hidden layers
    cosine: Cosine | None = None  # the head compares with a direction a label; None: it is linear
    zero_shot: dict[str, Any] | None = None  # where such a head comes from, see model/zero_shot.py
    train: dict[str, Any] = Field(default_factory=dict)  # the settings of training
    photos: int | None = None  # of training
    sources: dict[str, int] = Field(default_factory=dict)  # of those photos: how many came from each
    trained: str | None = None  # the day on which training ended, ISO 8601
    prior: list[float] | None = None  # the labels' shares of the training photos, in the order of the logits
    manifest_sha256: str | None = None  # of the manifest that it was trained from
    split_certificate: dict[str, Any] | None = None
    history: list[dict[str, Any]] = Field(default_factory=list)  # of that manifest
    packages: dict[str, str] = Field(default_factory=dict)
    seed: int | None = None
    novelty: dict[str, Any] | None = None  # see model/novelty.py
    export: dict[str, Any] | None = None  # see model/export.py

    @model_validator(mode="before")
    @classmethod
    def _one_temperature(cls, raw: Any) -> Any:
        """The file says the temperature once; a calibration repeats it."""
        if isinstance(raw, Mapping) and isinstance(raw.get("calibration"), Mapping):
            return {**raw, "calibration": {**raw["calibration"], "temperature": raw.get("temperature", 1.0)}}
        return raw

    @field_serializer("calibration")
    def _without_temperature(self, calibration: Calibration | None) -> dict[str, Any] | None:
        return calibration.facts if calibration else None

    def calibrated(self, calibration: Calibration) -> "Info":
        """The same with another calibration."""
        return self.model_copy(update={"temperature": calibration.temperature, "calibration": calibration})

    @property
    def drawn_only(self) -> bool:
        """Whether all photos of training were drawn: scenes of the synthetic world."""
        return set(self.sources) == {DRAWN}

    @property
    def caution(self) -> str | None:
        """What must be known before an answer is believed, in one line; None where there is nothing."""
        return CAUTION if self.drawn_only else None

    @property
    def written(self) -> dict[str, Any]:
        """The entries that were given, ready for JSON."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def record(self) -> dict[str, Any]:
        """What was exported; no "files" when nothing was."""
        return {"files": {}, **(self.export or {})}


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """What a bundle's JSON files say, and what is worked out from them."""

    folder: Path
    space: LabelSpace
    preprocess: Preprocess
    info: Info  # whichland.json
    config: dict[str, Any] = field(default_factory=dict, repr=False)  # config.json

    @property
    def arch(self) -> str:
        """The architecture, as timm names it."""
        return str(self.config.get("architecture", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """The codes of the labels, in the order of the logits."""
        return self.space.codes

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 where the bundle was not calibrated."""
        return self.info.temperature

    @property
    def has_features(self) -> bool:
        """Whether one classifier ends the network, so that there is one place where features can be taken."""
        return isinstance(self.config.get("pretrained_cfg", {}).get("classifier"), str)

    @cached_property
    def pins(self) -> PinTable | None:
        """What every pin is worth; None where the bundle keeps no places."""
        return pin_table(self.space.points) if self.space.points else None

    @cached_property
    def pins_or_land(self) -> PinTable:
        """The same, on the countries' land where the bundle keeps no places. Raises UserError for other labels."""
        if self.pins is not None:
            return self.pins
        from whichland.model.label_points import located

        points = located(self.space).points
        if points is None:
            raise UserError(f"{self.folder} does not know where its labels ({self.space.kind}) are photographed")
        return pin_table(points)

    @cached_property
    def novelty(self) -> Novelty | None:
        """How unlike the training photos a photo is; None where the bundle does not know. Raises UserError."""
        return read_novelty(self.folder, self.info.novelty)

    def require_level(self, level: float) -> Calibration:
        """The calibration. Raises UserError when the bundle has none, or no sets of that level."""
        calibration = self.info.calibration
        if calibration is None:
            raise UserError(f"{self.folder} is not calibrated; run `whichland calibrate {self.folder} MANIFEST`")
        if level not in calibration.sets:
            known = ", ".join(f"{share * 100:g}" for share in calibration.sets)
            raise UserError(
                f"{self.folder} keeps sets of {known} %, not {level * 100:g} %;"
                " `whichland calibrate --levels` fits others"
            )
        return calibration


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle(Settings):
    """A loaded bundle; the model is in evaluation mode."""

    model: "nn.Module" = field(repr=False)


def config_of(
    model: "nn.Module",
    arch: str,
    model_args: Mapping[str, Any],
    pretrained_cfg: Mapping[str, Any],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What config.json says of a model."""
    keep = ("input_size", "test_input_size", "fixed_input_size", "interpolation", "crop_pct", "test_crop_pct",
            "crop_mode", "mean", "std", "pool_size", "first_conv", "classifier", "license")  # fmt: skip
    return {
        "architecture": arch.split(".")[0],
        "num_classes": len(labels),
        "num_features": int(model.num_features),  # type: ignore[arg-type]
        "label_names": list(labels),
        "model_args": dict(model_args),
        "pretrained_cfg": {k: pretrained_cfg[k] for k in keep if pretrained_cfg.get(k) is not None}
        | {"num_classes": len(labels)},
    }


def save(
    folder: Path,
    *,
    model: "nn.Module",
    arch: str,
    model_args: Mapping[str, Any],
    pretrained_cfg: Mapping[str, Any],
    space: LabelSpace,
    info: Info,
    metrics: Mapping[str, Any],
    card: str,
) -> Path:
    """Write a bundle; the folder appears whole or not at all, and an existing one is never overwritten."""
    from safetensors.torch import save_file

    if folder.exists():
        raise UserError(f"{folder} already exists; choose another --out")
    config = config_of(model, arch, model_args, pretrained_cfg, space.codes)
    written = {"config.json": config, INFO: info.written, "metrics.json": metrics}
    texts = {name: json_text(values) for name, values in written.items()}
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    partial.mkdir(parents=True)
    try:
        save_file(tensors_of(model), partial / WEIGHTS, metadata={"format": "pt"})
        usual_permissions(partial / WEIGHTS)
        for name, text in (texts | {LABELS: labels_text(space), "README.md": card}).items():
            (partial / name).write_text(text, encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def in_hub_cache(folder: Path) -> bool:
    """Whether a bundle lies in the hub's own cache, as `models--OWNER--NAME/snapshots/COMMIT`."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def home(folder: Path) -> Path:
    """Where what is made of a bundle goes: the folder it lies in; for one in the hub's cache, one of its name here."""
    if in_hub_cache(folder):
        return Path(folder.parent.parent.name.removeprefix("models--"))
    return folder.resolve().parent


def load(folder: str | Path) -> Bundle:
    """Load a bundle for prediction. Raises UserError when the folder is no bundle or a file of it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    read = read_settings(folder)
    try:
        model = model_of_config(read.config, read.info, len(read.space))
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _no_model(folder, error) from None
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / WEIGHTS}: {first_line(error)}; train or copy it anew") from None
    return Bundle(**vars(read), model=model.eval())


def model_of_config(config: Mapping[str, Any], info: Info, labels: int) -> "nn.Module":
    """Make the model of a bundle, without its weights."""
    import timm

    from whichland.model.head import put_cosine_head, replace_head

    model = timm.create_model(config["architecture"], num_classes=labels, **config.get("model_args", {}))
    if info.cosine:
        put_cosine_head(model, info.cosine, labels)
    elif info.head:
        replace_head(model, info.head, labels)
    return model


def tensors_of(model: "nn.Module") -> dict[str, "Tensor"]:
    """What model.safetensors holds: tensors that share their memory are written once for each name."""
    state = model.state_dict()
    shared = Counter(tensor.untyped_storage().data_ptr() for tensor in state.values())
    return {
        name: tensor.contiguous() if shared[tensor.untyped_storage().data_ptr()] == 1 else tensor.contiguous().clone()
        for name, tensor in state.items()
    }


def read_settings(folder: Path) -> Settings:
    """Read config.json, whichland.json and labels.json.

    Raises UserError when the folder is no bundle or one of the files is damaged.
    """
    config, info = read_json(folder, "config.json"), read_info(folder)
    try:
        codes, preprocess = tuple(config["label_names"]), Preprocess.from_config(config["pretrained_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise _no_model(folder, error) from None
    return Settings(folder=folder, config=config, info=info, space=read_labels(folder, codes), preprocess=preprocess)


def _no_model(folder: Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return UserError(f"{folder}/config.json: describes no model of a bundle ({reason})")


def read_info(folder: Path) -> Info:
    """Read a bundle's whichland.json. Raises UserError when it is missing, damaged or holds a number out of range."""
    try:
        return Info.model_validate(read_json(folder, INFO))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{folder / INFO}: {where}: {first['msg']}; mend it, or copy the bundle anew") from None


def update_info(folder: Path, info: Info, *names: str) -> None:
    """Write some of an object's entries into a bundle's whichland.json; the others stay as they are, to the byte."""
    written = info.model_dump(mode="json", include=set(names))
    with whole_file(folder / INFO) as partial:
        partial.write_text(json_text(read_json(folder, INFO) | written), encoding="utf-8")


def keep_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration into a bundle's whichland.json."""
    update_info(folder, Info().calibrated(calibration), "temperature", "calibration")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read one of a bundle's JSON files, or one that lies beside weights. Raises UserError when there is none."""
    path = folder / name
    if not folder.is_dir():
        what = "a file, not a bundle, which is a folder and comes first" if folder.exists() else "no such bundle"
        raise UserError(f"{folder}: {what}; train one with `whichland train`")
    if not path.is_file():
        raise UserError(f"{folder} is not a bundle: {name} is missing (train one with `whichland train`)")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object, not a {type(found).__name__}; mend it, or copy it anew")
    return cast(dict[str, Any], found)


def json_text(values: Mapping[str, Any]) -> str:
    """The text of one of a bundle's JSON files."""
    return json.dumps(dict(values), indent=2, ensure_ascii=False) + "\n"


def bundle_hash(folder: Path, *networks: str) -> str:
    """SHA-256 over what decides a bundle's answers: configuration, whichland.json, labels, and the files `networks`.

    Those are the weights where none are named. The day of training and what `export` recorded about its files do not
    count.
    """
    info = read_json(folder, INFO)
    for name in ("export", "trained"):
        info.pop(name, None)
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    digest.update(json_text(info).encode())
    labels = [name for name in (LABELS, OLD_LABELS) if (folder / name).is_file()]
    for name in (*labels, *(networks or (WEIGHTS,))):
        digest.update(f"{name} {file_sha256(folder / name)}".encode())
    return digest.hexdigest()
