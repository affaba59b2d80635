"""whichland.json: what a bundle says of itself beside timm's config.json. Read and written here alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from whichland.errors import UserError
from whichland.model.calibration import Calibration
from whichland.whole_file import whole_file

FILE = "whichland.json"


class Info(BaseModel):
    """The entries of whichland.json; those that this version does not know are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: str = ""  # of whichland, that trained it
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # logits are divided by it
    calibration: Calibration | None = None  # None: not calibrated
    head: tuple[int, ...] = ()  # widths of the head's hidden layers
    train: dict[str, Any] = Field(default_factory=dict)  # the settings of training
    photos: int | None = None  # of training
    prior: list[float] | None = None  # the labels' shares of the training photos, in the order of the logits
    manifest_sha256: str | None = None  # of the manifest that it was trained from
    split_certificate: dict[str, Any] | None = None
    history: list[dict[str, Any]] = Field(default_factory=list)  # of that manifest
    packages: dict[str, str] = Field(default_factory=dict)
    seed: int | None = None
    export: dict[str, Any] | None = None  # see model/export_record.py

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
    def written(self) -> dict[str, Any]:
        """The entries that were given, ready for JSON."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_info(folder: Path) -> Info:
    """Read a bundle's whichland.json. Raises UserError when it is missing, damaged or holds a number out of range."""
    try:
        return Info.model_validate(read_json(folder, FILE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{folder / FILE}: {where}: {first['msg']}; mend it, or copy the bundle anew") from None


def update_info(folder: Path, info: Info, *names: str) -> None:
    """Write some of an object's entries into a bundle's whichland.json; the others stay as they are, to the byte."""
    written = info.model_dump(mode="json", include=set(names))
    with whole_file(folder / FILE) as partial:
        partial.write_text(json_text(read_json(folder, FILE) | written), encoding="utf-8")


def keep_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration into a bundle's whichland.json."""
    update_info(folder, Info().calibrated(calibration), "temperature", "calibration")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read one of a bundle's JSON files. Raises UserError when the folder holds no such file."""
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder} is not a bundle: {name} is missing (train one with `whichland train`)")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: not the file of a bundle (a {type(found).__name__}); train or copy it anew")
    return cast(dict[str, Any], found)


def json_text(values: Mapping[str, Any]) -> str:
    """The text of one of a bundle's JSON files."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
