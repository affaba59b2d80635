"""Batch norm over processes against torch's own over all photos: outputs, running statistics, gradients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from forked import torchrun
from whichland.training.process import synchronise

HERE = Path(__file__).parent
FAR = [(0.0, 1.0), (-3.0, 0.5), (30.0, 0.1), (300.0, 0.1), (1000.0, 0.1)]  # means and deviations, up to 10⁴ of these


@pytest.fixture
def alone() -> Iterator[None]:
    """A job of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def photos(mean: float, deviation: float) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 5, 6, 7, generator=generator) * deviation + mean


def norm(kind: type[nn.BatchNorm2d], **settings: object) -> nn.BatchNorm2d:
    made = kind(5, **settings)  # type: ignore[arg-type]
    torch.manual_seed(2)
    if made.affine:
        nn.init.uniform_(made.weight, 0.5, 2)
        nn.init.uniform_(made.bias, -1, 1)
    return made


def passed(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Everything that a step leaves: output, statistics, gradients."""
    x = x.clone().requires_grad_()
    pull = torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(x.dtype)
    y = layer(x)
    (y * pull).sum().backward()
    assert x.grad is not None
    left = {"y": y.detach(), "x": x.grad}
    left |= {f"gradient of {name}": p.grad for name, p in layer.named_parameters() if p.grad is not None}
    return left | dict(layer.named_buffers())


def compare(layer: nn.Module, x: Tensor, kind: type[nn.BatchNorm2d], **settings: object) -> None:
    """Hold `layer` against double precision, and nowhere to more than torch's own error with float32."""
    exact = passed(norm(kind, **settings).double(), x.double())
    own, torchs = passed(layer, x), passed(norm(kind, **settings), x)
    for name, right in exact.items():
        scale = float(right.double().abs().max()) or 1.0
        error, allowed = (float((each[name].double() - right).abs().max()) / scale for each in (own, torchs))
        assert error <= max(1.5 * allowed, 2e-6), (name, error, allowed)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("mean", "deviation"), FAR)
@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_one_process_normalises_as_torch_does(mean: float, deviation: float, kind: type[nn.BatchNorm2d]) -> None:
    layer = synchronise(norm(kind), torch.device("cpu"))
    compare(layer, photos(mean, deviation), kind)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("settings", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_its_settings_hold(settings: dict[str, object]) -> None:
    layer = synchronise(norm(nn.BatchNorm2d, **settings), torch.device("cpu"))
    compare(layer, photos(3.0, 2.0), nn.BatchNorm2d, **settings)
    layer.eval()
    assert torch.equal(layer(photos(1.0, 1.0)), nn.BatchNorm2d.forward(layer, photos(1.0, 1.0)))


@pytest.mark.usefixtures("alone")
def test_one_value_a_channel_is_refused_as_torch_refuses_it() -> None:
    one = torch.ones(1, 5, 1, 1)
    messages = []
    for layer in (synchronise(norm(nn.BatchNorm2d), torch.device("cpu")), norm(nn.BatchNorm2d)):
        with pytest.raises(ValueError, match="more than 1 value per channel") as refused:
            layer(one)
        messages.append(str(refused.value)[:40])
    assert messages[0] == messages[1]


def test_two_processes_normalise_as_one_with_all_photos() -> None:
    done = torchrun(2, [__file__])
    assert done.returncode == 0, done.stderr[-3000:]


def two() -> None:
    """What each of two processes does: its share of the photos, an uneven one, beside torch's norm over all."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    mine = slice(0, 3) if rank == 0 else slice(3, 8)
    for mean, deviation in FAR:
        x = photos(mean, deviation)
        x[3:] += deviation  # the processes' means differ
        whole, own = x.double().requires_grad_(), x[mine].clone().requires_grad_()
        right, layer = norm(nn.BatchNorm2d).double(), synchronise(norm(nn.BatchNorm2d), torch.device("cpu"))
        pull = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
        (right(whole) * pull).sum().backward()
        (layer(own) * pull[mine]).sum().backward()
        torch.testing.assert_close(layer(own).double(), right(whole)[mine], rtol=0, atol=2e-6 * max(1, mean / 100))
        torch.testing.assert_close(
            own.grad.double(), whole.grad[mine], rtol=0, atol=1e-4 * float(whole.grad.abs().max())
        )
        for name, buffer in right.named_buffers():
            torch.testing.assert_close(
                dict(layer.named_buffers())[name].double(), buffer.double(), rtol=1e-5, atol=1e-6
            )
        for one, other in zip(layer.parameters(), right.parameters(), strict=True):
            total = one.grad.clone()
            dist.all_reduce(total)
            torch.testing.assert_close(total.double(), other.grad, rtol=1e-4, atol=1e-4)
    dist.destroy_process_group()


if __name__ == "__main__":
    two()
