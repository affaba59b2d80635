"""How far the logits of zero-shot bundles are from open_clip's own zero-shot classifier, in models of full size.

    .venv/bin/python benchmarks/zero_shot.py

The weights are random, as none can be fetched everywhere; the tokenizer is CLIP's own. Of SigLIP's models the text
tower is CLIP's in form, since its tokenizer lies on the hub.
"""

import json
import tempfile
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from whichland.geo.countries import COUNTRIES
from whichland.model import bundle, zero_shot

KINDS = ("ViT-B-32-quickgelu", "RN50", "ViT-B-32-SigLIP2-256")
CODES = tuple(sorted(COUNTRIES))[:8]
PROMPTS = zero_shot.PROMPTS[:2]
CLIP_TEXT = {"context_length": 77, "vocab_size": 49408, "heads": 8, "layers": 4}


def save(name: str, folder: Path) -> torch.nn.Module:
    """A model of open_clip's with random weights, as the hub has it."""
    config = open_clip.get_model_config(name)
    if "hf_tokenizer_name" in config["text_cfg"]:
        config["text_cfg"] = CLIP_TEXT | {"width": config["text_cfg"].get("width", 512)}
    custom = config.pop("custom_text", False)
    torch.manual_seed(0)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config).eval()
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    said = {"model_cfg": config | {"custom_text": custom}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    return model


@torch.inference_mode()
def difference(name: str, folder: Path) -> tuple[float, float, float]:
    """Largest difference of a logit, and the least and largest logit, over eight pictures of noise."""
    theirs = save(name, folder / "clip")
    ours = bundle.load(zero_shot.make(str(folder / "clip"), folder / "made", names=CODES, prompts=PROMPTS))
    texts = [zero_shot.texts_of(code, PROMPTS) for code in ours.labels]
    classifier_DK = open_clip.build_zero_shot_classifier(
        theirs,
        open_clip.SimpleTokenizer(),
        range(len(texts)),
        [lambda label, at=at: texts[label][at] for at in range(len(PROMPTS))],
    )
    x_BCHW = torch.rand(8, 3, *ours.preprocess.size)
    expected = theirs.logit_scale.exp() * theirs.encode_image(x_BCHW, normalize=True) @ classifier_DK
    expected += 0 if theirs.logit_bias is None else theirs.logit_bias
    return float((ours.model(x_BCHW) - expected).abs().max()), float(expected.min()), float(expected.max())


if __name__ == "__main__":
    print("| model | largest difference of a logit | logits |\n|---|---|---|")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as temporary:
            apart, low, high = difference(kind, Path(temporary))
        print(f"| {kind} | {apart:.1e} | {low:.2f} to {high:.2f} |")
