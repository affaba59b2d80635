"""Every setting of a training run, written once: here, in recipes' TOML, and as flags of `whichland train`."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from whichland.errors import UserError
from whichland.model.head import HeadAfter
from whichland.training.phases import phases

Size = int | tuple[int, int]  # a square's side, or height and width


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained. The defaults suit a few thousand photos and one machine."""

    arch: Annotated[str, "any timm model name"] = "mobilenetv2_100"
    weights: Annotated[str, "pretrained weights: hub, none, or a .safetensors file"] = "hub"
    partial: Annotated[bool, "accept weights that leave some of the backbone at random"] = False
    model_args: Annotated[dict[str, Any], "arguments for timm's model, e.g. pad_type=same"] = field(
        default_factory=dict
    )
    countries: Annotated[tuple[str, ...], "ISO codes to learn; all of the manifest's when empty"] = ()
    photos: Annotated[int | None, "learn from the first N photos of each country, by rank"] = None
    head: Annotated[tuple[int, ...], "widths of hidden layers in the head; none when empty"] = ()
    head_after: Annotated[
        HeadAfter, "what the head follows: the features, or the logits of the pretrained classifier"
    ] = "features"
    dropout: Annotated[float, "dropout between the head's hidden layers"] = 0.2
    freeze: Annotated[
        str,
        "what does not learn: none (all learns), backbone (all but the head), front (all but the last stage "
        "and the head), front2, front3 (all but the last two or three stages); or phases with their epochs, such "
        "as front:3,none",
    ] = "none"
    head_first: Annotated[
        bool, "fit the head alone on the pretrained features before all layers learn; not one after the logits"
    ] = True
    head_decay: Annotated[float, "L2 penalty on the head's weights in that fit"] = 0.3
    epochs: Annotated[float, "passes over the training photos; the last may be a part of one"] = 6
    patience: Annotated[
        int, "stop after N validations without a better macro-F1 and keep the best weights; 0: never"
    ] = 0
    size: Annotated[Size, "side of the training crops, pixels, or height and width, such as 662x1536"] = 256
    test_size: Annotated[Size | None, "side of the crop when predicting; half as much again as size when unset"] = None
    batch_size: Annotated[int, "photos a step, over all processes together"] = 32
    accumulate: Annotated[
        int, "parts in which a step's photos go through the model, one after another, to need less memory"
    ] = 1
    lr: Annotated[float, "peak learning rate of the head"] = 1e-3
    lr_end: Annotated[float | None, "learning rate of the head at the end; a hundred-thousandth of lr when unset"] = (
        None
    )
    body_lr: Annotated[float, "peak learning rate of the backbone as a share of the head's"] = 0.6
    layer_decay: Annotated[
        float, "factor on the learning rate from each layer of the backbone to the one before it"
    ] = 1.0
    schedule: Annotated[
        Literal["one-cycle", "cosine", "exponential", "flat"],
        "how the rate goes from lr to lr_end after the warmup; flat stays at lr and anneals at the end",
    ] = "one-cycle"
    warmup: Annotated[float, "share of the steps in which the rate rises"] = 0.25
    anneal: Annotated[float, "share of the steps in which a flat rate falls at the end"] = 0.3
    restart: Annotated[bool, "begin the schedule anew with each phase of freeze"] = False
    weight_decay: Annotated[float, "decoupled weight decay, not on norms and biases"] = 0.05
    clip: Annotated[float, "largest norm of the gradient over all parameters; 0: any"] = 0.0
    smoothing: Annotated[float, "label smoothing: the share of the target that other countries get"] = 0.1
    smoothing_by: Annotated[
        Literal["all", "distance", "neighbour"],
        "who gets that share: all alike, the nearer the more, or neighbours on land",
    ] = "all"
    smoothing_km: Annotated[float, "distance at which the share has fallen to 1/e, smoothing by distance"] = 500.0
    balance: Annotated[
        Literal["manifest", "none", "sqrt", "class"],
        "photos' weights: the manifest's, all alike, by 1/√n of the country's photos, or by 1/n",
    ] = "manifest"
    prior: Annotated[
        Literal["trained", "even"],
        "answer as if countries were as common as in training, or all alike, as for photos from anywhere",
    ] = "even"
    weighting: Annotated[
        Literal["sample", "loss", "none"], "how the weights act: photos drawn by them, or the loss scaled"
    ] = "sample"
    ema: Annotated[float, "decay a step of the averaged weights that are kept; 0 switches averaging off"] = 0.995
    min_area: Annotated[float, "smallest crop, as a share of the largest that fits"] = 0.35
    max_stretch: Annotated[float, "crops are stretched in width over height by up to this factor"] = 4 / 3
    brightness: Annotated[float, "brightness varies by this share"] = 0.2
    contrast: Annotated[float, "contrast varies by this share"] = 0.2
    saturation: Annotated[float, "saturation varies by this share"] = 0.0
    flip: Annotated[bool, "mirror half of the photos; swaps the driving side and spoils text"] = False
    mixup: Annotated[float, "alpha of the Beta distribution by which pairs of photos are blended; 0: none are"] = 0.0
    cutmix: Annotated[
        float, "alpha by which a photo's part is pasted into another; 0: none is; with mixup, half each"
    ] = 0.0
    precision: Annotated[Literal["auto", "bf16", "fp32"], "arithmetic; auto takes bf16 where the machine has it"] = (
        "auto"
    )
    deterministic: Annotated[
        bool, "only algorithms that give the same bits each time; an error where there is none"
    ] = False
    views: Annotated[
        int,
        "augmented views of each photo that a frozen front or backbone sees, once; what it makes of them is kept "
        "on disk and trained on; 0: it runs at every step",
    ] = 4
    cache: Annotated[
        str | None,
        "folder for photos decoded once and for activations, kept for other runs; when unset photos are decoded "
        "each time, and activations lie in the run folder until it ends",
    ] = None
    validate_every: Annotated[int, "epochs between validations; the last is always validated"] = 1
    checkpoint_minutes: Annotated[
        float, "a checkpoint is written at least this often, and after an epoch where writing takes little of the time"
    ] = 5.0
    shard: Annotated[
        bool, "share out parameters, gradients and optimizer state over the processes, for a model too large for one"
    ] = False
    own_photos: Annotated[
        bool,
        "each process keeps to its own fixed share of the photos and needs no other's files; the result then "
        "depends on the number of processes",
    ] = False
    workers: Annotated[int, "threads that decode and crop"] = 2
    tensorboard: Annotated[bool, "write event files for TensorBoard beside log.jsonl"] = False
    seed: Annotated[int, "of crops, order and fresh weights"] = 0

    def __post_init__(self) -> None:
        phases(self.freeze, self.epochs)
        for name in ("size", "test_size"):
            given = getattr(self, name)
            if given is not None and (min(height_width(given)) < 1 or len(height_width(given)) != 2):
                raise UserError(f"{name} {given}: give one side in pixels, or height and width")
        above_0 = ("epochs", "lr", "body_lr", "layer_decay", "max_stretch", "smoothing_km")
        for name in (*above_0, "checkpoint_minutes"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} {getattr(self, name)}: give a number above 0")
        for name in ("batch_size", "accumulate", "validate_every", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: give 1 or more")
        for name in ("warmup", "anneal", "smoothing", "layer_decay", "ema", "dropout", "min_area"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: give a share from 0 to 1")
        for name in ("mixup", "cutmix", "clip", "patience", "weight_decay", "views"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)}: give 0 or more")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: give a share from 0 to 1")
        if self.photos is not None and self.photos < 1:
            raise UserError(f"photos {self.photos}: give 1 or more")
        if any(width < 1 for width in self.head):
            raise UserError(f"head {','.join(map(str, self.head))}: a layer has a width of 1 or more")
        if len(set(self.countries)) < len(self.countries):
            raise UserError(f"countries {','.join(self.countries)}: name each once")
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed {self.seed}: give a number from 0 to {2**31 - 1}")
        if self.lr_end is not None and not 0 < self.lr_end <= self.lr:
            raise UserError(f"lr_end {self.lr_end}: give a rate above 0 and no higher than lr ({self.lr})")
        if self.balance in ("sqrt", "class") and self.weighting == "none":
            raise UserError(f"balance {self.balance} acts through weighting: give sample or loss, not none")
        if self.smoothing_by != "all" and not self.smoothing:
            raise UserError(f"smoothing_by {self.smoothing_by} says who gets the share smoothing, which is 0")
        if self.schedule == "exponential" and self.lr_end is None:
            raise UserError("schedule exponential falls from lr to lr_end: give lr_end")


def height_width(size: Size) -> tuple[int, int]:
    """Height and width of a size that may be one side of a square."""
    return (size, size) if isinstance(size, int) else size
