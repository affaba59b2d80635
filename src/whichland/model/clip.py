"""Models of image and text (CLIP, SigLIP) from a folder: OpenCLIP's layout, or that of transformers' CLIPModel.

open_clip makes and runs them; here a folder becomes an open_clip model, and its image tower a model of timm's, which
is what a bundle holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from whichland.errors import UserError, first_line
from whichland.model.backbone import Backbone
from whichland.model.choices import Cosine
from whichland.model.head import fill_cosine_head, get_head, kind_of, put_cosine_head, width_into

OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")
AGREEMENT = 1e-4  # of a cosine, between open_clip's tower and timm's
TRANSFORMERS = ("config.json", "model.safetensors")
# by width; what differs from the named model (patches, depth, size) is given as arguments
_VIT_TIERS = {1024: "large_patch14", 1280: "huge_patch14", 1408: "giant_patch14", 1664: "gigantic_patch14"}
_RESNETS = {(3, 4, 6, 3): "resnet50_clip", (3, 4, 23, 3): "resnet101_clip"}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A model of image and text, and what it takes to feed it."""

    model: nn.Module  # open_clip's CLIP or CustomTextCLIP, in evaluation mode
    tokenize: Any  # list of texts -> N×L tokens
    preprocess: Mapping[str, Any]  # open_clip's: size, mean, std, interpolation, resize_mode
    vision: Mapping[str, Any]  # open_clip's settings of the image tower

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """One direction for texts that mean the same: the mean of their normalised embeddings, normalised; D."""
        found = cast(Any, self.model).encode_text(self.tokenize(list(texts)), normalize=True)
        return nn.functional.normalize(found.mean(dim=0), dim=0)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by to be logits."""
        return cast(Tensor, self.model.logit_scale).detach().exp()

    @property
    def bias(self) -> float:
        """What is added to them: SigLIP's; 0 for CLIP."""
        bias = self.model.logit_bias
        return 0.0 if bias is None else float(cast(Tensor, bias).detach())


def read_clip(folder: Path) -> Clip:
    """Read a model of image and text. Raises UserError for a folder of another layout or with damaged files."""
    import open_clip

    vision: dict[str, Any] = {}
    try:
        if (folder / OPEN_CLIP[0]).is_file():
            config = json.loads((folder / OPEN_CLIP[0]).read_text(encoding="utf-8"))
            vision = config["model_cfg"]["vision_cfg"]
            if not (folder / OPEN_CLIP[1]).is_file():
                raise UserError(f"{folder / OPEN_CLIP[1]}: missing; only safetensors are read, never pickled weights")
            model = open_clip.create_model(f"local-dir:{folder}")
            tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
        else:
            model, tokenize = _from_transformers(folder), open_clip.SimpleTokenizer()
    except UserError:
        raise
    except Exception as error:  # open_clip, transformers and the hub's client complain in many ways
        reason = first_line(error)
        raise UserError(f"{folder}: no model of image and text that open_clip can read ({reason})") from None
    preprocess = cast(Any, model).visual.preprocess_cfg
    return Clip(model=model.eval(), tokenize=tokenize, preprocess=preprocess, vision=vision)


def _from_transformers(folder: Path) -> nn.Module:
    """Make open_clip's model from a folder that transformers' CLIPModel was saved to, such as StreetCLIP's."""
    import open_clip

    config_file, weights = (folder / name for name in TRANSFORMERS)
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.is_file() else {}
    if config.get("model_type") != "clip":
        raise UserError(
            f"{folder}: neither {OPEN_CLIP[0]} nor a {TRANSFORMERS[0]} of model_type 'clip'; give a folder or "
            "hub:OWNER/NAME of an OpenCLIP model, or of transformers' CLIPModel"
        )
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12}
    text |= {"max_position_embeddings": 77, "vocab_size": 49408} | (config.get("text_config") or {})
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    vision |= {"image_size": 224, "patch_size": 32} | (config.get("vision_config") or {})
    model: nn.Module = open_clip.CLIP(
        embed_dim=config.get("projection_dim", 512),
        quick_gelu=vision.get("hidden_act", "quick_gelu") == "quick_gelu",
        vision_cfg={
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "width": vision["hidden_size"],
            "layers": vision["num_hidden_layers"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
        },
        text_cfg={
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    )
    if not weights.is_file():
        raise UserError(f"{weights}: missing; only safetensors are read, never pickled weights")
    try:
        model.load_state_dict(_renamed(load_file(weights)))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{weights}: {str(error).splitlines()[0]}; fetch it anew") from None
    beside = folder / "preprocessor_config.json"
    said = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    names = {"image_mean": "mean", "image_std": "std"}
    defaults = asdict(open_clip.transform.PreprocessCfg())
    known = defaults | {"size": vision["image_size"]} | {new: said[old] for old, new in names.items() if old in said}
    open_clip.model.set_model_preprocess_cfg(model, known)
    return model


_RENAMED = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers": "transformer.resblocks",
    "text_model.final_layer_norm": "ln_final",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def _renamed(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers' CLIPModel under open_clip's names; queries, keys and values become one."""
    named: dict[str, Tensor] = {}
    for name, tensor in given.items():
        if name.endswith("position_ids"):
            continue
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        named[name] = tensor.T if name in ("text_projection", "visual.proj") else tensor
    for name in [name for name in named if ".self_attn.q_proj." in name]:
        parts = [named.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        named[name.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(parts)
    return named


def image_tower(clip: Clip, directions_KD: Tensor) -> Backbone:
    """Give timm's model of an image tower a head of K text embeddings; its logits are those of `clip`.

    Raises UserError for towers that timm has no model of, and where the two do not agree.
    """
    visual = cast(Any, clip.model).visual
    arch, arguments, given, projection = _timm_tower(clip, visual) if hasattr(visual, "trunk") else _own_tower(visual)
    count, embedded = directions_KD.shape
    try:
        model = timm.create_model(arch, num_classes=embedded if projection is None else 0, **arguments)
        model.load_state_dict(_as_timm(model, given))
    except Exception as error:  # each family complains of its arguments in its own way
        reason = first_line(error)
        raise UserError(f"timm's {arch} cannot be made this model's image tower ({reason})") from None
    projection = projection or get_head(model)
    head = Cosine(features=width_into(projection) or embedded, embedded=embedded, projection=kind_of(projection))
    put_cosine_head(model, head, count)
    fill_cosine_head(model, projection, directions_KD, clip.scale, clip.bias)
    cfg = clip.preprocess
    side = visual.image_size
    height, width = (side, side) if isinstance(side, int) else side
    _check_agreement(clip, model.eval(), directions_KD, (height, width))
    pretrained_cfg = {key: value for key, value in cast(Any, model).pretrained_cfg.items() if "test_" not in key} | {
        "input_size": (3, height, width),
        "mean": tuple(cfg["mean"]),
        "std": tuple(cfg["std"]),
        "interpolation": cfg["interpolation"],
        "crop_pct": 1.0,
        "crop_mode": "squash" if cfg["resize_mode"] == "squash" else "center",
    }
    return Backbone(
        model=model, arch=arch, model_args=arguments, pretrained_cfg=pretrained_cfg, report=None, cosine=head
    )


Tower = tuple[str, dict[str, Any], dict[str, Tensor], nn.Module | None]


def _own_tower(visual: Any) -> Tower:
    """A ViT or ResNet of open_clip's own: timm's name for it, its arguments, the weights; it ends in its projection."""
    given = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    if hasattr(visual, "attnpool"):
        layers = tuple(len(getattr(visual, f"layer{n}")) for n in (1, 2, 3, 4))
        if layers not in _RESNETS:
            raise UserError(f"a ResNet of {layers} blocks: timm has no such model of image and text")
        return _RESNETS[layers], {}, given, None
    if visual.attn_pool is not None or visual.pool_type != "tok" or visual.final_ln_after_pool:
        raise UserError("this model's image tower pools by attention or averages; timm has no such model")
    block, (height, width) = visual.transformer.resblocks[0], visual.image_size
    quick = "QuickGELU" in type(block.mlp.gelu).__name__
    embed_dim = visual.conv1.out_channels
    tier = _VIT_TIERS.get(embed_dim, "base_patch16")
    arguments = {
        "img_size": [height, width],
        "patch_size": visual.conv1.kernel_size[0],
        "embed_dim": embed_dim,
        "depth": len(visual.transformer.resblocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.c_fc.out_features / embed_dim,
    }
    known = f"vit_{tier}_clip_quickgelu_224"
    arch = known if quick and timm.is_model(known) else f"vit_{tier}_clip_224"
    if quick and arch != known:
        arguments["act_layer"] = "quick_gelu"
    return arch, arguments, given, None


def _timm_tower(clip: Clip, visual: Any) -> Tower:
    """A tower that is timm's already: its name and arguments, its weights, and the projection behind it."""
    arch, pool, kind = (clip.vision.get(f"timm_{name}") for name in ("model_name", "pool", "proj"))
    if pool in ("abs_attn", "rot_attn"):
        raise UserError(f"this model's image tower pools by {pool!r}; a bundle cannot hold that")
    arguments = {"global_pool": pool} if pool else {}
    behind = {"linear": "proj", "mlp": "mlp"}.get(kind or "")
    projection = getattr(visual.head, behind) if behind else nn.Identity() if kind == "none" else None
    return str(arch), arguments, visual.trunk.state_dict(), projection


def _as_timm(model: nn.Module, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under timm's names, by the rule that timm has for the family."""
    if not any(name.startswith("visual.") for name in given):
        return given
    rules = import_module(type(model).__module__)
    found: Mapping[str, Tensor] = rules.checkpoint_filter_fn(dict(given), model)
    return found


@torch.inference_mode()
def _check_agreement(clip: Clip, model: nn.Module, directions_KD: Tensor, size: tuple[int, int]) -> None:
    """Raise UserError where timm's tower says something else than open_clip's of the same noise."""
    noise = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
    expected = cast(Any, clip.model).encode_image(noise, normalize=True) @ directions_KD.T * clip.scale + clip.bias
    difference = float((model(noise) - expected).abs().max() / clip.scale)
    if not difference < AGREEMENT:
        raise UserError(f"timm's image tower differs from open_clip's by {difference:.1e} of a cosine: not usable")
