"""Every setting of a training run, written once: here, as tables of a recipe, and as flags of `whichland train`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Interval

from whichland.config import ABOVE_0, AT_LEAST_0, AT_LEAST_1, SHARE, TOML_ONLY, Config
from whichland.errors import UserError
from whichland.model.choices import Freeze, HeadAfter

Size = int | tuple[int, int]  # a square's side, or height and width
Arguments = dict[str, Any]
FEW = 150  # training photos; with fewer, layers that learn lose what the fitted head knows (training-settings.md)
Balance = Literal["manifest", "none", "sqrt", "class"]
Weighting = Literal["sample", "loss", "none"]
Prior = Literal["trained", "even"]
Schedule = Literal["one-cycle", "cosine", "exponential", "flat"]
SmoothingBy = Literal["all", "distance", "neighbour"]
Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class DataSettings(Config):
    """What is learned from, and at which size."""

    group = "data"

    label: Annotated[str, "column of the manifest to learn: country, or any other column of text"] = "country"
    countries: Annotated[tuple[str, ...], "labels to learn, as the column has them; all when empty"] = ()
    photos: Annotated[int | None, "learn from the first N photos of each label, by rank", AT_LEAST_1] = None
    size: Annotated[Size, "side of the training crops, pixels, or height and width, such as 662x1536", AT_LEAST_1] = 256
    test_size: Annotated[Size | None, "side of the crop when predicting; 1.5 times size when unset", AT_LEAST_1] = None
    balance: Annotated[
        Balance, "photos' weights: the manifest's, all alike, by 1/√n of the country's photos, or by 1/n", TOML_ONLY
    ] = "manifest"
    weighting: Annotated[Weighting, "how weights act: photos drawn by them, or loss scaled", TOML_ONLY] = "sample"
    prior: Annotated[Prior, "answer as if countries were as common as in training, or all alike, as anywhere"] = "even"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Config):
    """The network, and which of its layers learn."""

    group = "model"

    arch: Annotated[str, "any timm model name"] = "mobilenetv2_100"
    weights: Annotated[str, "pretrained weights: hub, none, or a .safetensors file or its folder"] = "hub"
    partial: Annotated[bool, "accept weights that leave some of the backbone at random", TOML_ONLY] = False
    model_args: Annotated[Arguments, "arguments for timm, such as pad_type=same", TOML_ONLY] = field(
        default_factory=dict
    )
    features: Annotated[
        str | None,
        "file of `whichland embed` by the same weights and size: what the frozen backbone makes of the photos, so that "
        "it does not run; with freeze backbone",
    ] = None
    head: Annotated[tuple[int, ...], "widths of hidden layers in the head; none when empty", AT_LEAST_1] = ()
    head_after: Annotated[HeadAfter, "the head follows features, or the pretrained logits", TOML_ONLY] = "features"
    dropout: Annotated[float, "dropout between the head's hidden layers", SHARE, TOML_ONLY] = 0.2
    freeze: Annotated[
        str,
        "what does not learn: none (all learns), backbone (all but the head), front (all but the last stage "
        "and the head), front2, front3 (all but the last two or three stages); or phases with their epochs, such "
        f"as front:3,none; auto: backbone with fewer than {FEW} training photos and pretrained weights, else none",
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class OptimisationSettings(Config):
    """How the weights are fitted."""

    group = "optimisation"

    epochs: Annotated[float, "passes over the training photos; the last may be a part of one", ABOVE_0] = 6
    patience: Annotated[int, "stop after N validations without a better macro-F1, keep the best; 0: no", AT_LEAST_0] = 0
    batch_size: Annotated[int, "photos a step, over all processes together", AT_LEAST_1] = 32
    accumulate: Annotated[int, "parts of a step, one after another in the model, to need less memory", AT_LEAST_1] = 1
    head_first: Annotated[bool, "fit the head alone on pretrained features first; not one after the logits"] = True
    head_decay: Annotated[float, "L2 penalty on the head's weights in that fit", TOML_ONLY] = 0.3
    lr: Annotated[float, "peak learning rate of the head", ABOVE_0] = 1e-3
    lr_end: Annotated[float | None, "the head's rate at the end; lr / 100,000 when unset", ABOVE_0, TOML_ONLY] = None
    body_lr: Annotated[float, "peak learning rate of the backbone as a share of the head's", ABOVE_0] = 0.6
    layer_decay: Annotated[float, "factor on the rate a layer towards the input", Interval(gt=0, le=1), TOML_ONLY] = 1.0
    schedule: Annotated[
        Schedule, "how the rate goes from lr to lr_end after the warmup; flat: stays, and anneals at the end", TOML_ONLY
    ] = "one-cycle"
    warmup: Annotated[float, "share of the steps in which the rate rises", SHARE, TOML_ONLY] = 0.25
    anneal: Annotated[float, "share of the steps in which a flat rate falls at the end", SHARE, TOML_ONLY] = 0.3
    restart: Annotated[bool, "begin the schedule anew with each phase of freeze", TOML_ONLY] = False
    weight_decay: Annotated[float, "decoupled weight decay, not on norms and biases", AT_LEAST_0, TOML_ONLY] = 0.05
    clip: Annotated[float, "largest norm of the gradient over all parameters; 0: any", AT_LEAST_0, TOML_ONLY] = 0.0
    smoothing: Annotated[float, "label smoothing: share of the target for other countries", SHARE, TOML_ONLY] = 0.1
    smoothing_by: Annotated[SmoothingBy, "who gets it: all alike, nearer ones more, or neighbours", TOML_ONLY] = "all"
    smoothing_km: Annotated[float, "by distance: where the share has fallen to 1/e, km", ABOVE_0, TOML_ONLY] = 500.0
    keep_start: Annotated[
        float, "share of a zero-shot bundle's own weights in those that are kept (WiSE-FT)", SHARE, TOML_ONLY
    ] = 0.0
    ema: Annotated[float, "decay a step of the averaged weights, which are kept; 0: none are", SHARE, TOML_ONLY] = 0.995


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Config):
    """How training photos are varied."""

    group = "augmentation"

    min_area: Annotated[float, "smallest crop, as a share of the largest that fits", SHARE] = 0.35
    max_stretch: Annotated[float, "crops are stretched sideways by up to this factor", ABOVE_0, TOML_ONLY] = 4 / 3
    brightness: Annotated[float, "brightness varies by this share", SHARE, TOML_ONLY] = 0.2
    contrast: Annotated[float, "contrast varies by this share", SHARE, TOML_ONLY] = 0.2
    saturation: Annotated[float, "saturation varies by this share", SHARE, TOML_ONLY] = 0.0
    flip: Annotated[bool, "mirror half of the photos; swaps the driving side and spoils text", TOML_ONLY] = False
    mixup: Annotated[float, "alpha of the Beta by which pairs of photos blend; 0: none do", AT_LEAST_0, TOML_ONLY] = 0.0
    cutmix: Annotated[float, "alpha of parts pasted into others; with mixup, half each", AT_LEAST_0, TOML_ONLY] = 0.0
    views: Annotated[
        int,
        "augmented views of each photo that a frozen front or backbone sees, once; what it makes of them is kept "
        "on disk and trained on; 0: it runs at every step",
        AT_LEAST_0,
    ] = 4


@dataclass(frozen=True, kw_only=True)
class RunSettings(Config):
    """What changes how a run goes, not what it is after."""

    group = "run"

    precision: Annotated[Precision, "arithmetic; auto takes bf16 where the machine has it"] = "auto"
    deterministic: Annotated[bool, "the same bits each time; an error where it cannot be", TOML_ONLY] = False
    novelty_photos: Annotated[
        int, "training photos that show what is unlike them, at most; 0: nothing is said of it", AT_LEAST_0, TOML_ONLY
    ] = 2000
    cache: Annotated[
        str | None,
        "folder for photos decoded once and for activations, kept for other runs; when unset photos are decoded "
        "each time, and activations lie in the run folder until it ends",
    ] = None
    validate_every: Annotated[int, "epochs between validations; the last always has one", AT_LEAST_1, TOML_ONLY] = 1
    checkpoint_minutes: Annotated[
        float,
        "a checkpoint is written at least this often, and after an epoch where writing takes little of the time",
        ABOVE_0,
        TOML_ONLY,
    ] = 5.0
    workers: Annotated[int, "threads that decode and crop", AT_LEAST_1] = 2
    tensorboard: Annotated[bool, "write event files for TensorBoard beside log.jsonl"] = False
    seed: Annotated[int, "of crops, order and fresh weights", Interval(ge=0, le=2**31 - 1)] = 0


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataSettings, ModelSettings, OptimisationSettings, AugmentationSettings, RunSettings):
    """How a model is trained. The defaults suit a few thousand photos and one machine."""

    retired: ClassVar[Mapping[str, Any]] = {"shard": False, "own_photos": False}

    def __post_init__(self) -> None:
        super().__post_init__()
        phases(self.freeze, self.epochs)
        for name in ("size", "test_size"):
            given = getattr(self, name)
            if given is not None and len(height_width(given)) != 2:
                raise UserError(f"{name} {given}: give one side in pixels, or height and width")
        if len(set(self.countries)) < len(self.countries):
            raise UserError(f"countries {','.join(self.countries)}: name each once")
        if self.lr_end is not None and self.lr_end > self.lr:
            raise UserError(f"lr_end {self.lr_end}: give a rate no higher than lr ({self.lr})")
        if self.balance in ("sqrt", "class") and self.weighting == "none":
            raise UserError(f"balance {self.balance} acts through weighting: give sample or loss, not none")
        if self.features and (self.freeze != "backbone" or not self.views or self.mixup or self.cutmix):
            raise UserError("features stand for a frozen backbone: give freeze backbone, and neither views 0 nor a mix")
        if self.smoothing_by != "all" and not self.smoothing:
            raise UserError(f"smoothing_by {self.smoothing_by} says who gets the share smoothing, which is 0")
        if self.schedule == "exponential" and self.lr_end is None:
            raise UserError("schedule exponential falls from lr to lr_end: give lr_end")


def settled(config: TrainConfig, photos: int, *, own_head: bool = False) -> TrainConfig:
    """The settings once it is known how many photos there are to learn from: `freeze` is no longer "auto".

    With `own_head` the weights bring a head of these labels, which is not fitted to the photos first.
    """
    if config.freeze != "auto":
        return config
    fitted = config.head_first and config.head_after == "features" and config.weights != "none" and not own_head
    return replace(config, freeze="backbone" if fitted and photos < FEW else "none")


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same parameters learn."""

    policy: Freeze
    first: int  # epoch that it begins with, counted from 0
    end: float  # epochs after which it ends; the last phase may end within one


def phases(text: str, epochs: float) -> tuple[Phase, ...]:
    """Read freezing that changes over time, `POLICY:EPOCHS,…,POLICY`; the last stays to the end. Raises UserError.

    "auto" that is not settled is "none".
    """
    if text == "auto":
        return (Phase("none", 0, epochs),)

    def policy(part: str) -> Any:
        name, choices = part.strip(), get_args(Freeze)
        if name not in choices:
            raise UserError(
                f"freeze {text!r}: {name!r} is not one of auto, {', '.join(choices)}; write phases as front:3,none"
            )
        return name

    *earlier, last = text.split(",")
    found: list[Phase] = []
    first = 0
    for part in earlier:
        name, _, count = part.partition(":")
        if not count.strip().isdecimal() or int(count) < 1:
            raise UserError(f"freeze {text!r}: {part.strip()!r} needs its whole epochs, such as front:3,none")
        found.append(Phase(policy(name), first, first + int(count)))
        first += int(count)
    if earlier and first >= epochs:
        raise UserError(f"freeze {text!r}: {last.strip()!r} never comes in {epochs:g} epochs; raise --epochs")
    return (*found, Phase(policy(last), first, epochs))


def height_width(size: Size) -> tuple[int, int]:
    """Height and width of a size that may be one side of a square."""
    return (size, size) if isinstance(size, int) else size
