"""Bundles without training: equal to open_clip's own zero-shot classifier, and ordinary bundles for every command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import whichland as wl
from tinted import tinted
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model import zero_shot
from whichland.training.config import TrainConfig

open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
KINDS = {
    "ViT": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "ViT, QuickGELU, oblong": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": VIT | {"image_size": [32, 48]},
        "text_cfg": TEXT,
    },
    "ResNet": {
        "embed_dim": 1024,
        "vision_cfg": {"layers": [3, 4, 6, 3], "width": 64, "patch_size": None, "image_size": 224},
        "text_cfg": TEXT,
    },
    "ConvNeXt, linear": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 160},
        "text_cfg": TEXT,
    },
    "ConvNeXt, MLP": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp", "image_size": 160},
        "text_cfg": TEXT,
    },
    "SigLIP": {
        "embed_dim": 64,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
        "text_cfg": TEXT | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
    "timm's classifier projects": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "", "image_size": 160},
        "text_cfg": TEXT,
    },
}
CODES = ("BR", "FR", "JP", "NL")
NAMES = ("Brazil", "France", "Japan", "the Netherlands")
PROMPTS = ("a street view photo taken in {country}", "houses along a road in {country}")


def save_clip(folder: Path, config: dict[str, object]) -> torch.nn.Module:
    """A model of a kind with random weights, in a folder as the hub has it."""
    torch.manual_seed(0)
    parts = {key: value for key, value in config.items() if key != "custom_text"}
    model = (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**parts).eval()
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    said = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_open_clip_s_own_zero_shot_classifier(kind: str, tmp_path: Path) -> None:
    theirs = save_clip(tmp_path / "clip", KINDS[kind])
    made = zero_shot.make(str(tmp_path / "clip"), tmp_path / "made", names=CODES, prompts=PROMPTS)
    ours = bundles.load(made)
    assert ours.labels == CODES
    assert ours.preprocess.mean == (0.5, 0.4, 0.3)
    x_BCHW = torch.rand(3, 3, *ours.preprocess.size)
    with torch.inference_mode():
        classifier_DK = open_clip.build_zero_shot_classifier(
            theirs,
            open_clip.SimpleTokenizer(),
            NAMES,
            [lambda name, text=text: text.replace("{country}", name) for text in PROMPTS],
        )
        image_BD = theirs.encode_image(x_BCHW, normalize=True)
        expected_BK = theirs.logit_scale.exp() * image_BD @ classifier_DK
        expected_BK += 0 if theirs.logit_bias is None else theirs.logit_bias
        found_BK = ours.model(x_BCHW)
    torch.testing.assert_close(found_BK, expected_BK, atol=1e-4, rtol=0)


def test_the_layout_of_transformers_clip_is_read(tmp_path: Path) -> None:
    text = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 3, "num_hidden_layers": 2}
    config = transformers.CLIPConfig(
        text_config=text | {"eos_token_id": 49407},
        vision_config=vision | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path / "clip")
    made = zero_shot.make(str(tmp_path / "clip"), tmp_path / "made", names=CODES, prompts=PROMPTS[:1])
    x_BCHW = torch.rand(2, 3, 32, 32)
    tokens = open_clip.SimpleTokenizer()([PROMPTS[0].replace("{country}", name) for name in NAMES])
    with torch.inference_mode():
        expected = theirs(input_ids=tokens, pixel_values=x_BCHW).logits_per_image
        found = bundles.load(made).model(x_BCHW)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero-shot")
    save_clip(folder / "clip", KINDS["SigLIP"])
    return zero_shot.make(str(folder / "clip"), folder / "made", names=("Brasil", "FR", "Japan"))


def test_it_is_an_ordinary_bundle(made: Path, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    answer = wl.load(made).predict(photo)
    assert answer.country in {"BR", "FR", "JP"}
    Image.fromarray(photo).save(tmp_path / "a.png")
    for command in (
        ["export", str(made)],
        ["predict", str(made), str(tmp_path / "a.png")],
        ["explain", str(made), str(tmp_path / "a.png"), "--out", str(tmp_path / "explained")],
    ):
        root()(command, prog_name="whichland", standalone_mode=False)
    exported = wl.load(made, engine="onnx").predict(photo)
    assert exported.probability == pytest.approx(answer.probability, abs=1e-4)


def test_prompts_name_countries_as_english_does() -> None:
    assert zero_shot.texts_of("NL", ("in {country}", "a {adjective} road")) == ["in the Netherlands", "a Dutch road"]
    assert zero_shot.texts_of("AQ", ("in {country}", "a {adjective} road")) == ["in Antarctica"]


@pytest.mark.parametrize(
    ("countries", "prompts", "line"),
    [
        (("FR", "Atlantis"), PROMPTS, "'Atlantis' is no country"),
        (("FR",), PROMPTS, "at least two"),
        (CODES, ("a street",), "names no country"),
        (CODES, ("a {adjective} street",), "add one"),
    ],
)
def test_bad_input_is_one_line(countries: tuple[str, ...], prompts: tuple[str, ...], line: str, tmp_path: Path) -> None:
    save_clip(tmp_path / "clip", KINDS["ViT"])
    with pytest.raises(UserError, match=line):
        zero_shot.make(str(tmp_path / "clip"), tmp_path / "made", names=countries, prompts=prompts)
    assert not (tmp_path / "made").exists()


def damage(folder: Path, how: str) -> None:
    weights, config = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    if how == "pickled":
        weights.rename(folder / "open_clip_pytorch_model.bin")
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "no JSON":
        config.write_text("{")
    else:
        config.unlink()


@pytest.mark.parametrize("how", ["pickled", "cut", "no JSON", "no config"])
def test_a_folder_that_is_no_model_is_one_line(how: str, tmp_path: Path) -> None:
    save_clip(tmp_path / "clip", KINDS["ViT"])
    damage(tmp_path / "clip", how)
    with pytest.raises(UserError, match=str(tmp_path)) as caught:
        zero_shot.make(str(tmp_path / "clip"), tmp_path / "made", names=CODES)
    assert "\n" not in str(caught.value)


def settings(bundle: Path, **more: object) -> TrainConfig:
    arch = json.loads((bundle / "config.json").read_text())["architecture"]
    shared = {"size": 160, "test_size": 160, "batch_size": 8, "epochs": 1, "prior": "trained", "precision": "fp32"}
    return TrainConfig(arch=arch, weights=str(bundle), **(shared | more))


def test_training_goes_on_from_it_with_its_head(tmp_path: Path) -> None:
    save_clip(tmp_path / "clip", KINDS["SigLIP"])
    start = zero_shot.make(str(tmp_path / "clip"), tmp_path / "start", names=("NA", "Chile", "JP", "FR"))
    manifest = tinted(tmp_path, 24)
    kept = wl.train(manifest, settings(start, keep_start=1.0), tmp_path / "kept")
    tuned = wl.train(manifest, settings(start), tmp_path / "tuned")
    x_BCHW = torch.rand(2, 3, 160, 160)
    three = [bundles.load(start).labels.index(code) for code in ("FR", "JP", "NA")]
    with torch.inference_mode():
        zero_BK = bundles.load(start).model(x_BCHW)[:, three]
        kept_BK, tuned_BK = (bundles.load(run.bundle).model(x_BCHW) for run in (kept, tuned))
    torch.testing.assert_close(kept_BK, zero_BK, atol=1e-4, rtol=0)
    assert (tuned_BK - zero_BK).abs().max() > 1e-2


def test_what_it_does_not_know_is_not_trained_on(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not know 'NA'"):
        wl.train(tinted(tmp_path, 24), settings(made), tmp_path / "run")


def test_weights_that_do_not_answer_cannot_be_kept(tmp_path: Path) -> None:
    config = TrainConfig(arch="test_vit", weights="none", size=160, test_size=160, keep_start=0.5)
    with pytest.raises(UserError, match="give --weights a zero-shot bundle"):
        wl.train(tinted(tmp_path, 24), config, tmp_path / "run")
