"""Every setting of a training run, written once: here, in recipes' TOML, and as flags of `whichland train`."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from whichland.model.freezing import Freeze


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
    dropout: Annotated[float, "dropout between the head's hidden layers"] = 0.2
    freeze: Annotated[Freeze, "what does not learn: nothing, the backbone, or all but the last stage"] = (
        "none"
    )
    head_first: Annotated[bool, "fit the head alone on the pretrained features before all layers learn"] = (
        True
    )
    head_decay: Annotated[float, "L2 penalty on the head's weights in that fit"] = 0.3
    epochs: Annotated[int, "passes over the training photos"] = 12
    size: Annotated[int, "side of the training crops, pixels"] = 224
    test_size: Annotated[
        int | None, "side of the crop when predicting; a quarter more than size when unset"
    ] = None
    batch_size: Annotated[int, "photos a step, over all processes together"] = 32
    lr: Annotated[float, "peak learning rate of the head"] = 1e-3
    body_lr: Annotated[float, "peak learning rate of the backbone as a share of the head's"] = 0.6
    weight_decay: Annotated[float, "decoupled weight decay, not on norms and biases"] = 0.05
    warmup: Annotated[float, "share of the steps in which the one-cycle rate rises"] = 0.25
    smoothing: Annotated[float, "label smoothing"] = 0.1
    weighting: Annotated[
        Literal["sample", "loss", "none"],
        "how the manifest's weights act: photos drawn by them, or the loss scaled",
    ] = "sample"
    ema: Annotated[float, "decay a step of the averaged weights that are kept; 0 switches averaging off"] = (
        0.995
    )
    min_area: Annotated[float, "smallest crop, as a share of the largest that fits"] = 0.35
    brightness: Annotated[float, "brightness varies by this share"] = 0.2
    contrast: Annotated[float, "contrast varies by this share"] = 0.2
    flip: Annotated[bool, "mirror half of the photos; swaps the driving side and spoils text"] = False
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], "arithmetic; auto takes bf16 where the machine has it"
    ] = "auto"
    validate_every: Annotated[int, "epochs between validations; the last is always validated"] = 1
    workers: Annotated[int, "threads that decode and crop"] = 2
    tensorboard: Annotated[bool, "write event files for TensorBoard beside log.jsonl"] = False
    seed: Annotated[int, "of crops, order and fresh weights"] = 0
