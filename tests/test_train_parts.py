"""The parts of training: order and sampling, rates, averaged weights, the head's start, synchronised norms."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from whichland.errors import UserError
from whichland.images.augment import Augment
from whichland.model.backbone import create
from whichland.model.head import classifier_name
from whichland.model.label_sources import countries
from whichland.training.checkpoint import Average
from whichland.training.config import TrainConfig
from whichland.training.data import Loader, Photos, epoch_order
from whichland.training.linear_probe import fit_head
from whichland.training.run import card
from whichland.training.schedule import parameter_groups, share_of_peak
from whichland.training.validation import macro_f1


def photos(count: int, weights: np.ndarray | None = None) -> Photos:
    weights = np.ones(count) if weights is None else weights
    return Photos([str(i) for i in range(count)], np.zeros(count, np.int64), weights / weights.mean())


def test_an_epoch_without_weights_shows_every_photo_once() -> None:
    order = epoch_order(photos(100), seed=0, epoch=1, weighting="none")
    assert sorted(order) == list(range(100))
    assert list(order) == list(epoch_order(photos(100), 0, 1, "none"))
    assert list(order) != list(epoch_order(photos(100), 0, 2, "none"))


def test_sampling_follows_the_weights_with_few_repetitions() -> None:
    weights = np.where(np.arange(100) < 20, 4.0, 0.25)
    seen = Counter(epoch_order(photos(100, weights), 0, 0, "sample").tolist())
    heavy = sum(seen[i] for i in range(20))
    assert heavy == pytest.approx(80, abs=1)
    assert max(seen.values()) <= 5
    assert sorted(epoch_order(photos(50), 0, 0, "sample")) == list(range(50))


def test_processes_share_the_photos_of_every_step(tmp_path: Path) -> None:
    for i in range(20):
        Image.new("RGB", (12, 12), (i * 10, 0, 0)).save(tmp_path / f"{i}.png")
    files = Photos([str(tmp_path / f"{i}.png") for i in range(20)], np.arange(20), np.ones(20))

    def steps(rank: int, world: int, start: int = 0) -> list[tuple[list[int], list[int]]]:
        loader = Loader(
            photos=files, augment=Augment(size=(8, 8)), batch_size=4, seed=3, weighting="none", rank=rank, world=world
        )
        batches = loader.epoch(0, start)
        return [(b.targets.tolist(), (b.images[:, 4, 4, 0] / 10).round().int().tolist()) for b in batches]

    whole, first, second = steps(0, 1), steps(0, 2), steps(1, 2)
    assert sorted(target for targets, _ in whole for target in targets) == list(range(20))
    assert all(targets == pixels for targets, pixels in whole)  # a photo keeps its target
    for step in range(5):
        assert sorted(first[step][0] + second[step][0]) == sorted(whole[step][0])
    assert steps(0, 1, start=3) == whole[3:]


def rates(points: int = 100, **settings: object) -> list[float]:
    config = TrainConfig(**settings)  # type: ignore[arg-type]
    return [share_of_peak(p / points, config) for p in range(points + 1)]


def test_the_cycle_rises_to_one_and_falls_to_nothing() -> None:
    cycle = rates(warmup=0.25)
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[25] == pytest.approx(1)
    assert cycle[100] == pytest.approx(1e-5)
    assert cycle[:26] == sorted(cycle[:26])
    assert cycle[25:] == sorted(cycle[25:], reverse=True)


def test_a_cosine_rises_in_a_line_and_is_half_way_down_in_the_middle_of_the_rest() -> None:
    cosine = rates(schedule="cosine", warmup=0.2, lr=1.0, lr_end=0.1)
    assert cosine[10] == pytest.approx((cosine[0] + cosine[20]) / 2)
    assert cosine[60] == pytest.approx(0.55)
    assert (cosine[20], cosine[100]) == (1.0, pytest.approx(0.1))


def test_an_exponential_rate_falls_by_the_same_factor_each_step_to_its_end() -> None:
    falling = np.array(rates(schedule="exponential", warmup=0.0, lr=1e-3, lr_end=1e-6))
    assert falling[0] == 1
    assert falling[-1] == pytest.approx(1e-3)
    np.testing.assert_allclose(falling[1:] / falling[:-1], 10 ** (-3 / 100))


def test_a_flat_rate_stays_and_anneals_at_the_end() -> None:
    flat = rates(schedule="flat", warmup=0.1, anneal=0.4)
    assert flat[10:61] == [1.0] * 51
    assert flat[80] == pytest.approx(0.5, abs=1e-3)
    assert flat[100] == pytest.approx(1e-5)


def test_the_body_learns_slower_and_vectors_do_not_decay() -> None:
    model = create("test_resnet", 3, weights="none").model
    groups = parameter_groups(model, TrainConfig(lr=1.0, body_lr=0.1, weight_decay=0.05))
    assert {(g["peak"], g["weight_decay"]) for g in groups} == {(1.0, 0.05), (1.0, 0.0), (0.1, 0.05), (0.1, 0.0)}
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in model.parameters())
    assert all(p.ndim == 1 for g in groups if not g["weight_decay"] for p in g["params"])


def test_embeddings_of_positions_and_classes_do_not_decay() -> None:
    model = create("test_vit", 3, weights="none", size=160).model
    groups = parameter_groups(model, TrainConfig(lr=1.0, body_lr=0.1, weight_decay=0.05))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    still = {names[id(p)] for g in groups if not g["weight_decay"] for p in g["params"] if p.ndim > 1}
    assert {"pos_embed", "cls_token"} & set(names.values()) <= still <= model.no_weight_decay()
    assert "pos_embed" in still


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_convnext"])
def test_rates_fall_by_a_factor_a_layer_towards_the_input(arch: str) -> None:
    model = create(arch, 3, weights="none").model
    groups = parameter_groups(model, TrainConfig(lr=1.0, body_lr=0.5, weight_decay=0.05, layer_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: group["peak"] for group in groups for p in group["params"]}
    assert set(rates) == set(names.values())
    head = classifier_name(model)
    assert {rate for name, rate in rates.items() if name.startswith(f"{head}.")} == {1.0}
    body = [rate for name, rate in rates.items() if not name.startswith(f"{head}.")]
    powers = sorted({round(np.log10(rate / 0.5)) for rate in body}, reverse=True)
    assert powers == list(range(powers[0], powers[0] - len(powers), -1))
    assert len(powers) >= 3
    first = next(iter(names.values()))  # timm's models define their parameters from the input on
    assert rates[first] == min(body)


def test_an_architecture_without_layers_is_told() -> None:
    model = create("test_resnet", 3, weights="none").model
    model.group_matcher = None
    with pytest.raises(UserError, match="train it without layer_decay"):
        parameter_groups(model, TrainConfig(layer_decay=0.5))


def test_the_average_follows_the_weights() -> None:
    layer = nn.BatchNorm1d(2)
    average = Average(layer, decay=0.5)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.num_batches_tracked += 7
    average.update(step=1000)
    torch.testing.assert_close(average.state["weight"], torch.full((2,), 2.0))
    assert int(average.state["num_batches_tracked"]) == 7
    early = Average(layer, decay=0.999)
    with torch.no_grad():
        layer.weight.fill_(13.0)
    early.update(step=0)
    torch.testing.assert_close(early.state["weight"], torch.full((2,), 12.0))  # 0.1 of the past, not 0.999


def test_the_average_passes_over_what_is_frozen_but_not_before_it_has_caught_up() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    average = Average(model, decay=0.5)
    with torch.no_grad():
        model[0].weight.fill_(3.0)
    model[0].requires_grad_(False).eval()
    average.follow(model)  # frozen, but the average is at 1
    assert not average.complete
    average.update(step=1000)
    torch.testing.assert_close(average.state["0.weight"], torch.full((2,), 2.0))
    for _ in range(40):
        average.update(step=1000)
    average.follow(model)
    assert average.complete
    with torch.no_grad():
        model[0].weight.fill_(9.0)  # what is frozen does not move: it is not looked at again
        model[1].bias.fill_(5.0)
    average.update(step=1000)
    torch.testing.assert_close(average.state["0.weight"], torch.full((2,), 3.0))
    assert (average.state["1.bias"] > 2).all()


def test_features_that_are_no_numbers_do_not_become_a_head() -> None:
    model = create("test_resnet", 3, weights="none").model
    features = torch.full((6, model.get_classifier().in_features), float("nan"))
    with pytest.raises(UserError, match=r"gives no numbers: .* look at --weights"):
        fit_head(model, features, torch.arange(6) % 3, torch.ones(6))
    assert model.get_classifier().weight.isfinite().all()


@pytest.mark.parametrize("scores", [{}, {"val_top1": 0.5}])
def test_the_card_says_whether_there_were_validation_photos(scores: dict[str, float]) -> None:
    text = card(countries(["JP", "NA"]), TrainConfig(), scores, 10)
    assert ("| val_top1 | 0.500 |" in text) == bool(scores)
    assert ("There were none; judge the model with" in text) == (not scores)
    assert ("seen while training" in text) == bool(scores)
    assert ("| score |" in text) == bool(scores)


def test_the_heads_start_is_logistic_regression() -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 400)
    model = create("test_resnet", 3, weights="none").model
    width = model.get_classifier().in_features
    features = generator.normal(size=(400, width)) * generator.uniform(0.1, 10, width) + 3
    features[np.arange(400), targets] += 4
    decay = 0.05
    fit_head(
        model, torch.from_numpy(features).float(), torch.from_numpy(targets), torch.ones(400), decay=decay, steps=200
    )
    logits = model.get_classifier()(torch.from_numpy(features).float()).detach().numpy()
    standard = (features - features.mean(0)) / features.std(0, ddof=1)
    # scikit-learn minimises C·Σ loss + ½|w|²; ours mean loss + ½·decay·|w|²
    peer = LogisticRegression(C=1 / (decay * 400), max_iter=2000).fit(standard, targets)
    ours = torch.softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(ours, peer.predict_proba(standard), atol=0.01)
    assert all(p.grad is None for p in model.parameters())


def test_macro_f1_is_the_mean_over_the_labels_there_are() -> None:
    targets, guesses = torch.tensor([0, 0, 0, 2, 2, 5]), torch.tensor([0, 0, 2, 2, 7, 1])
    assert macro_f1(guesses, targets) == pytest.approx((4 / 5 + 2 / 4 + 0) / 3)
