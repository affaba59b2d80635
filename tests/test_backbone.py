"""Weights from a file and from the hub: all there, or one line that says what is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save, save_file
from torch import nn

from misbehaving_hub import serve
from saved_bundle import save_bundle
from whichland.errors import UserError
from whichland.model.backbone import create
from whichland.model.bundle import load
from whichland.model.freezing import freeze
from whichland.model.head import classifier_name, classifier_names, features_before_head, get_head
from whichland.model.weights import load_weights

SHARED = Path(__file__).resolve().parents[2] / "shared" / "weights"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the weights in ../shared/weights")


def tiny(classes: int = 1000) -> nn.Module:
    torch.manual_seed(7)
    return timm.create_model("test_resnet", num_classes=classes)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(tiny().state_dict(), path)
    return path


def test_a_whole_file_fills_the_backbone_and_leaves_the_head_fresh(weights: Path) -> None:
    made = create("test_resnet", 3, weights=str(weights))
    assert made.report is not None
    assert (made.report.missing, made.report.unexpected) == ((), ())
    wanted, found = tiny().state_dict(), made.model.state_dict()
    head = classifier_name(made.model) + "."
    for name, tensor in wanted.items():
        assert name.startswith(head) or torch.equal(found[name], tensor), name
    assert found[f"{head}weight"].shape == (3, 96)
    assert float(found[f"{head}bias"].abs().max()) == 0


def test_missing_tensors_are_listed_and_refused_unless_accepted(weights: Path, tmp_path: Path) -> None:
    state = {name: t for name, t in tiny().state_dict().items() if not name.startswith("layer4.")}
    lost = [name for name in tiny().state_dict() if name.startswith("layer4.") and "num_batches" not in name]
    save_file(state, weights)
    with pytest.raises(UserError, match=r"layer4\.0\.conv1\.weight.*--set model\.partial=true") as raised:
        create("test_resnet", 3, weights=str(weights))
    assert f"{len(lost)} backbone tensors" in str(raised.value)
    made = create("test_resnet", 3, weights=str(weights), partial=True)
    assert made.report is not None
    assert list(made.report.missing) == lost
    assert torch.equal(made.model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_unexpected_tensors_are_listed(weights: Path) -> None:
    save_file(tiny().state_dict() | {"neck.weight": torch.zeros(2)}, weights)
    report = create("test_resnet", 3, weights=str(weights)).report
    assert report is not None
    assert report.unexpected == ("neck.weight",)
    assert "unexpected: neck.weight" in str(report)


def test_tensors_of_another_shape_are_refused_with_both_shapes(weights: Path) -> None:
    state = tiny().state_dict()
    save_file(state | {"conv1.0.weight": torch.zeros(1, 3, 3, 3)}, weights)
    with pytest.raises(UserError, match=r"conv1\.0\.weight.*\(1, 3, 3, 3\) in the file"):
        create("test_resnet", 3, weights=str(weights), partial=True)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"{}" * 100], ids=["empty", "pickle", "text"])
def test_what_is_no_safetensors_file_is_never_unpickled(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="never read") as raised:
        load_weights(tiny(), path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such weights"):
        create("test_resnet", 3, weights=str(tmp_path / "none.safetensors"))


def test_an_unknown_architecture_names_neighbours() -> None:
    with pytest.raises(UserError, match=r"timm has no model 'resnet_18'.*resnet"):
        create("resnet_18", 3, weights="none")


def test_a_tag_that_timm_has_not_names_those_it_has() -> None:
    with pytest.raises(UserError, match=r"timm has no weights 'nonsense' of resnet18; it has .*a1_in1k"):
        create("resnet18.nonsense", 3, weights="none", size=64)


@pytest.mark.parametrize("name", ["qwen3_vit_88m_enc", "mobilenetv5_300m_enc"])
def test_an_encoder_without_a_classifier_is_told(name: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match="has no place for a classifier"):
        create(name, 3, weights="none")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"wings": 2}, "cannot be made with"),
        ({"act_layer": "foo"}, "cannot be made with"),
        ({"num_classes": 7}, "num_classes cannot be chosen"),
        ({"in_chans": 1}, "in_chans cannot be chosen"),
    ],
)
def test_arguments_that_a_model_does_not_take(given: dict[str, object], words: str) -> None:
    for size in (None, 64):
        with pytest.raises(UserError, match=words) as raised:
            create("test_resnet", 3, weights="none", model_args=given, size=size)
        assert "\n" not in str(raised.value)


def test_weights_of_a_bundle_bring_its_arguments_and_its_normalisation(tmp_path: Path) -> None:
    made = create("mobilenetv2_050", 3, weights="none", model_args={"pad_type": "same"}, size=64)
    cfg = made.pretrained_cfg | {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear"}
    save_bundle(tmp_path / "bundle", made, cfg)
    file = str(tmp_path / "bundle" / "model.safetensors")
    again = create("mobilenetv2_050", 2, weights=file, size=96)
    assert again.model_args == {"pad_type": "same"}
    assert tuple(again.pretrained_cfg["mean"]) == (0.1, 0.2, 0.3)
    assert again.pretrained_cfg["interpolation"] == "bilinear"
    assert again.pretrained_cfg["input_size"] == (3, 96, 96)
    assert create("mobilenetv2_050", 2, weights=file, model_args={"pad_type": ""}).model_args == {"pad_type": ""}


def test_classes_of_the_weights_are_not_those_of_the_bundle(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(tiny(7).state_dict(), file)
    file.with_suffix(".json").write_text('{"timm_kwargs": {"num_classes": 7}}')
    made = create("test_resnet", 3, weights=str(file), size=64, head_after="logits")
    assert made.head == (7,)
    folder = save_bundle(tmp_path / "bundle", made)
    assert load(folder).model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_what_lies_beside_weights_and_says_nothing_is_told(weights: Path, content: str) -> None:
    weights.with_suffix(".json").write_text(content)
    with pytest.raises(UserError, match=r"tiny\.json"):
        create("test_resnet", 3, weights=str(weights))


def test_weights_of_another_family_at_another_size_are_one_line(weights: Path) -> None:
    for arch in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        with pytest.raises(UserError, match=r"tiny\.safetensors") as raised:
            create(arch, 3, weights=str(weights), size=256)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arch", "size", "arguments"),
    [
        ("test_resnet", 64, {}),
        ("test_vit", 64, {}),
        ("caformer_s18", 64, {}),  # an MLP before the classifier
        ("crossvit_9_240", 240, {}),  # two classifiers, of two branches
        ("resnetv2_50", 64, {"layers": (1, 1, 1, 1)}),  # classifies by a convolution
    ],
)
def test_what_the_head_sees_is_what_it_is_given(arch: str, size: int, arguments: dict[str, object]) -> None:
    model = create(arch, 3, weights="none", size=size, model_args=arguments).model.eval()
    x, head = torch.randn(2, 3, size, size), get_head(model)
    with torch.no_grad():
        seen = features_before_head(model, x)
        given = seen if isinstance(head, nn.Linear) else seen[:, :, None, None]
        if len(classifier_names(model)) == 1:
            torch.testing.assert_close(head(given).flatten(1), model(x))
        else:
            assert head(given).shape == (2, 3)


def test_both_classifiers_of_a_distilled_model_are_its_head() -> None:
    small = {"embed_dim": 12, "num_heads": 1, "depth": 2}
    arch = "deit_tiny_distilled_patch16_224"
    model = create(arch, 3, weights="none", size=32, model_args=small).model
    freeze(model, "backbone")
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "head.weight", "head.bias", "head_dist.weight", "head_dist.bias",
    }  # fmt: skip
    with pytest.raises(UserError, match="several classifiers"):
        create(arch, 3, weights="none", size=32, model_args=small, head=(8,))


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("head", [(), (8, 4)], ids=["plain", "hidden"])
def test_any_head_on_any_family(arch: str, head: tuple[int, ...]) -> None:
    made = create(arch, 3, weights="none", head=head, size=64)
    assert made.model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    linears = [m.out_features for m in get_head(made.model).modules() if isinstance(m, nn.Linear)]
    assert linears == [*head, 3]
    assert made.pretrained_cfg["input_size"] == (3, 64, 64)


def test_a_head_may_follow_the_pretrained_classifier(weights: Path) -> None:
    made = create("test_resnet", 3, weights=str(weights), head=(30,), head_after="logits")
    layers = [module for module in get_head(made.model).modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in layers] == [1000, 30, 3]
    assert made.head == (1000, 30), "as a head of these widths it is loaded again"
    assert torch.equal(layers[0].weight, tiny().state_dict()["fc.weight"])
    assert torch.equal(layers[0].bias, tiny().state_dict()["fc.bias"])
    assert create("test_resnet", 3, weights=str(weights), head_after="logits").head == (1000,)
    assert create("test_resnet", 3, weights=str(weights), head=(30,)).head == (30,)


def test_a_head_cannot_follow_a_classifier_that_is_not_there(weights: Path) -> None:
    state = {name: t for name, t in tiny().state_dict().items() if not name.startswith("fc.")}
    save_file(state, weights)
    with pytest.raises(UserError, match=r"holds no classifier.*--set model\.head_after=features"):
        create("test_resnet", 3, weights=str(weights), head_after="logits")
    assert create("test_resnet", 3, weights=str(weights)).head == ()
    narrow = {"embed_dim": 12, "num_heads": 1, "depth": 2}
    with pytest.raises(UserError, match="no linear classifier for a head to follow"):
        create("vit_small_patch14_dinov2", 3, weights="none", head_after="logits", model_args=narrow)


def test_the_file_beside_the_weights_says_how_to_prepare_photos(weights: Path) -> None:
    note = {"preprocessing": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}, "timm_kwargs": {"output_stride": 16}}
    weights.with_suffix(".json").write_text(json.dumps(note), encoding="utf-8")
    made = create("test_resnet", 3, weights=str(weights))
    assert made.pretrained_cfg["mean"] == [0.1, 0.2, 0.3]
    assert made.model_args == {"output_stride": 16}
    assert made.model.forward_features(torch.zeros(1, 3, 64, 64)).shape[-1] == 4


@needs_shared
def test_real_weights_are_complete() -> None:
    report = create("mobilenetv2_100", 3, weights=str(SHARED / "mobilenetv2_100.safetensors")).report
    assert report is not None
    assert (report.missing, report.unexpected) == ((), ())


@needs_shared
def test_real_partial_weights_are_refused_and_can_be_accepted() -> None:
    file = str(SHARED / "tf_efficientnet_b0_partial.safetensors")
    with pytest.raises(UserError, match=r"conv_head\.weight.*--set model\.partial=true"):
        create("tf_efficientnet_b0", 3, weights=file)
    report = create("tf_efficientnet_b0", 3, weights=file, partial=True).report
    assert report is not None
    assert {name.split(".")[0] for name in report.missing} == {"conv_head", "bn2"}


# Asks for the weights of one model in every mood of the hub; each answer is a line of JSON.
ASK = """
import json, shutil, sys, time, urllib.request
from pathlib import Path
from whichland.errors import UserError
from whichland import hub_client
from whichland.model.backbone import create
hub_client.PATIENCE_S = 2.0
address, cache, *moods = sys.argv[1:]
sleep, time.sleep = time.sleep, lambda seconds: sleep(min(seconds, 0.01))  # between the hub client's retries
for mood in moods:
    urllib.request.urlopen(f"{address}/mood/{mood}").read()
    shutil.rmtree(cache, ignore_errors=True)
    start = time.monotonic()
    try:
        model = create("test_resnet", 3).model
        answer = {"sum": float(model.state_dict()["layer4.0.conv1.weight"].double().sum())}
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer | {"mood": mood, "seconds": time.monotonic() - start}), flush=True)
"""
MOODS = ("good", "404", "401", "429", "503", "drops", "garbage", "pickle", "hangs")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    cache = tmp_path_factory.mktemp("hub")
    with serve(save(tiny().state_dict())) as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": str(cache),
            "HF_TOKEN": "hf_thisMustNeverBeShown",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
            environment.pop(name, None)
        command = [sys.executable, "-c", ASK, hub.address, str(cache), *MOODS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "hf_thisMustNeverBeShown" not in done.stdout + done.stderr
    found = {line["mood"]: line for line in map(json.loads, done.stdout.splitlines())}
    print(json.dumps(found, indent=1), done.stderr, *hub.asked, sep="\n")  # shown when a test fails
    assert not [asked for asked in hub.asked if asked.endswith(".bin")], "a pickled file was asked for"
    return found


def test_weights_come_from_the_hub(answers: dict[str, dict[str, object]]) -> None:
    wanted = float(tiny().state_dict()["layer4.0.conv1.weight"].double().sum())
    assert answers["good"]["sum"] == pytest.approx(wanted)


@pytest.mark.parametrize("mood", [mood for mood in MOODS if mood != "good"])
def test_a_hub_that_misbehaves_is_one_clear_line(answers: dict[str, dict[str, object]], mood: str) -> None:
    message = answers[mood].get("error")
    assert isinstance(message, str), f"no error, although the hub {mood}: {answers[mood]}"
    assert "test_resnet" in message
    assert "model.safetensors" in message
    assert "--weights FILE" in message
    assert "\n" not in message
    assert float(str(answers[mood]["seconds"])) < 20
