"""A model shared out over the processes: each keeps its part of every parameter, gradient and moment (FSDP2).

The rest of the training room sees a model by its parts (`parts`: plain tensors that share the model's memory)
or whole (`whole`: for checkpoints and the bundle, which do not know how many processes wrote them). Of a model
that is not shared out, the parts are its tensors. Zhao et al., "PyTorch FSDP" (arXiv 2304.11277).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from whichland.errors import UserError

LEAST = 0.005  # of the parameters: what is smaller goes with the rest of the model


def share_out(model: nn.Module, device: torch.device, processes: int) -> None:
    """Leave to this process its part of every parameter, in place; blocks are put together one at a time.

    Raises UserError where the architecture does not allow it.
    """
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP takes no other
    mesh = init_device_mesh(device.type, (processes,))
    try:
        for block in blocks(model):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # also the rest anew at each use: what stays whole after a validation would be stale in the next step
        fully_shard(model, mesh=mesh, reshard_after_forward=True)
    except (ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{type(model).__name__} cannot be trained with --shard ({reason})") from None


def blocks(model: nn.Module) -> list[nn.Module]:
    """The members of a model's chains (Sequential, ModuleList) that are no chains themselves: ViT blocks."""
    least = LEAST * _size(model)
    found: list[nn.Module] = []

    def walk(module: nn.Module) -> None:
        for child in module.children():
            if _size(child) < least:
                continue
            if isinstance(child, (nn.Sequential, nn.ModuleList)) or _mostly_chains(child):
                walk(child)
            elif isinstance(module, (nn.Sequential, nn.ModuleList)):
                found.append(child)

    walk(model)
    return found


def parts(model: nn.Module) -> dict[str, Tensor]:
    """This process's part of every parameter and buffer by name; writing to them changes the model."""
    return {name: _part(tensor.detach()) for name, tensor in model.state_dict().items()}


@torch.no_grad()
def put(model: nn.Module, given: dict[str, Tensor]) -> None:
    """Write parts, as `parts` gives them, into the model."""
    for name, own in parts(model).items():
        own.copy_(given[name])


def whole(value: Any, *, keep: bool) -> Any:
    """Dictionaries and lists of tensors with every shared one put together, on the CPU; None unless `keep`.

    All processes call it together.
    """
    if isinstance(value, dict):
        return {name: whole(item, keep=keep) for name, item in value.items()}
    if isinstance(value, list):
        return [whole(item, keep=keep) for item in value]
    if not isinstance(value, DTensor):
        return value
    tensor = value.full_tensor()
    return tensor.cpu() if keep else None


def whole_of_parts(given: dict[str, Tensor], model: nn.Module, *, keep: bool) -> Any:
    """What `whole` gives of the model, were its parts those given."""
    state = model.state_dict()
    return whole({name: _shared(part, state[name]) for name, part in given.items()}, keep=keep)


def parts_of_whole(given: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """This process's parts of whole tensors, each as the model's tensor of that name is shared out."""
    state = model.state_dict()
    return {name: _part(like(tensor, state[name])) for name, tensor in given.items()}


def like(tensor: Tensor, shared: Tensor) -> Tensor:
    """A whole tensor, which every process has, shared out as another of its shape is."""
    if not isinstance(shared, DTensor) or tensor.shape != shared.shape:
        return tensor
    mesh, placements = shared.device_mesh, shared.placements
    return distribute_tensor(tensor.to(shared.device), mesh, placements, src_data_rank=None)


def _shared(part: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return part
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _part(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _mostly_chains(module: nn.Module) -> bool:
    """Whether a module is a stage: more than half of its parameters lie in chains."""
    chains = [child for child in module.children() if isinstance(child, (nn.Sequential, nn.ModuleList))]
    return sum(map(_size, chains)) > _size(module) / 2


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
