"""Answers under even shares of the countries: Bayes' rule, on a world where the right answer can be worked out."""

from pathlib import Path

import pytest
import torch

from tinted import tinted
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model.backbone import create
from whichland.model.head import classifier_names, even_out, get_head, log_shares, shares
from whichland.training.config import TrainConfig
from whichland.training.run import train


def test_shares_count_photos_by_their_weights() -> None:
    targets, weights = torch.tensor([0, 1, 1, 1]).numpy(), torch.tensor([3.0, 1.0, 1.0, 1.0]).numpy()
    assert shares(targets, weights, 3) == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("head", [(), (16, 8)], ids=["plain head", "hidden head"])
def test_answers_become_those_of_a_model_trained_on_even_shares(head: tuple[int, ...]) -> None:
    model = create("test_resnet", 3, weights="none", head=head, size=32).model.eval()
    prior = [0.7, 0.2, 0.1]
    x = torch.randn(5, 3, 32, 32)
    trained = model(x).softmax(1)
    even_out(model, log_shares(prior))
    expected = trained / torch.tensor(prior)
    torch.testing.assert_close(model(x).softmax(1), expected / expected.sum(1, keepdim=True))
    assert not torch.allclose(model(x).softmax(1), trained)


def test_a_country_without_photos_counts_as_the_rarest() -> None:
    torch.testing.assert_close(log_shares([0.6, 0.4, 0.0]).exp(), torch.tensor([0.6, 0.4, 0.4]))


def test_a_last_layer_without_a_bias_is_told_in_a_line() -> None:
    model = create("test_resnet", 3, weights="none", size=32).model
    get_head(model).register_parameter("bias", None)
    with pytest.raises(UserError, match="no bias; train it with prior trained"):
        even_out(model, log_shares([0.5, 0.3, 0.2]))


def test_a_run_for_photos_from_anywhere_differs_in_its_last_bias_alone(tmp_path: Path) -> None:
    manifest = tinted(tmp_path, 30, split=lambda i: "train" if i % 3 != 1 or i < 9 else "val")
    runs = {}
    for prior in ("trained", "even"):
        settings = TrainConfig(
            arch="test_resnet", weights="none", size=32, epochs=1, batch_size=8, weighting="none", prior=prior
        )
        runs[prior] = train(manifest, settings, tmp_path / prior)
    trained, even = (bundles.load(run.bundle) for run in runs.values())
    taught = trained.info.prior
    assert taught == even.info.prior
    assert max(taught) > min(taught) > 0
    bias = classifier_names(trained.model)[0] + ".bias"
    states = trained.model.state_dict(), even.model.state_dict()
    for name in states[0]:
        expected = states[0][name] - (log_shares(taught) if name == bias else 0)
        torch.testing.assert_close(states[1][name], expected)
    assert runs["even"].scores["val_loss"] != runs["trained"].scores["val_loss"]
