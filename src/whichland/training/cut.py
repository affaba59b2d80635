"""A network cut in two where its learning part begins: the front runs once per photo, the rest at every step.

The cut goes through the input of one module, the last stage or the head. What runs before it is found by watching
one forward pass, so there is one rule for all families. To run the rest alone, the model's own `forward` is called
while every module before the cut returns empty memory of the right shape, which nothing reads, and the module at
the cut gets the stored activations in place of its input. Nothing of the model is copied or rewritten: its
parameters, names and wrappers stay.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from whichland.model.choices import Freeze
from whichland.model.freezing import learning_begins

TOLERANCE = 0.03  # of the largest logit; 16-bit activations come within 0.01

Make = Callable[[int], Any]  # the output of a module for a batch of so many


class NotCut(Exception):
    """This model cannot be cut; the text says why."""


class _Reached(Exception):
    """The cut is reached; its argument is what arrived there."""


class Cut:
    """The cut that belongs to a freezing policy other than "none"; raises NotCut where it would not be exact."""

    def __init__(self, model: nn.Module, policy: Freeze, x_BCHW: Tensor) -> None:
        self.model = model
        self.name = learning_begins(model, policy)
        self.at = model.get_submodule(self.name)
        self.input_shape = x_BCHW.shape[1:]
        self.front: list[nn.Module] = []  # what runs before the cut, outermost modules, in order of their ends
        self._outputs: list[Make] = []
        self._empty: Callable[..., Tensor] = _poisoned
        self._watch(x_BCHW)
        self._check(x_BCHW)
        self._empty = torch.empty

    @torch.no_grad()
    def capture(self, x_BCHW: Tensor) -> Tensor:
        """What the front makes of a batch: the input of the module at the cut. Model in evaluation mode."""

        def stop(_module: nn.Module, args: tuple[Any, ...]) -> None:
            if not args or not isinstance(args[0], Tensor):
                raise NotCut(f"{self.name} takes no single tensor")
            raise _Reached(args[0].detach())

        handle = self.at.register_forward_pre_hook(stop)
        try:
            self.model(x_BCHW)
        except _Reached as reached:
            activations: Tensor = reached.args[0]
            return activations
        finally:
            handle.remove()
        raise NotCut(f"its forward pass does not come through {self.name}")

    def resume(self, model: nn.Module, activations: Tensor) -> Tensor:
        """Logits from stored activations, through `model`: the one that was cut, or a wrapper around it."""
        with self._replaced(activations):
            shape = (len(activations), *self.input_shape)
            logits: Tensor = model(activations.new_empty(shape, dtype=torch.float32))
        return logits

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that the activations depend on: frozen parameters, and the front's statistics."""
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                yield name, parameter.detach()
        for number, module in enumerate(self.front):
            for name, buffer in module.named_buffers():
                yield f"{number}.{name}", buffer

    def _watch(self, x_BCHW: Tensor) -> None:
        """Run the front once and note the modules that begin and end before the cut."""
        entered: list[int] = []

        def enter(_module: nn.Module, _args: Any) -> None:
            entered.append(len(self.front))

        def leave(module: nn.Module, _args: Any, output: Any) -> None:
            start = entered.pop()  # modules inside this one are stood for by it
            self.front[start:], self._outputs[start:] = [module], [self._like(output, len(x_BCHW))]

        handles = [
            handle
            for module in self.model.modules()
            if module is not self.model
            for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))
        ]
        try:
            self.capture(x_BCHW)
        finally:
            for handle in handles:
                handle.remove()
        if any(p.requires_grad for module in self.front for p in module.parameters()):
            raise NotCut("a part of it learns before its frozen part ends")

    @torch.no_grad()
    def _check(self, x_BCHW: Tensor) -> None:
        """Compare with the whole network, the front's output being NaN: whatever reads it would show here."""
        whole = self.model(x_BCHW).float()
        try:
            rest = self.resume(self.model, self.capture(x_BCHW)).float()
        except (RuntimeError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise NotCut(f"its rest does not run alone ({str(error).splitlines()[0]})") from None
        if not (whole - rest).abs().max() <= TOLERANCE * whole.abs().max():
            raise NotCut("its last stage needs more than the stage before it gives")

    @contextmanager
    def _replaced(self, activations: Tensor) -> Iterator[None]:
        """Within, the modules of the front return empty memory and the one at the cut takes `activations`."""
        waiting: dict[nn.Module, list[Make]] = {}
        for module, output in zip(self.front, self._outputs, strict=True):
            waiting.setdefault(module, []).append(output)

        def stand_in(outputs: list[Make], own: Callable[..., Any]) -> Callable[..., Any]:
            # a module of the front may be used behind the cut, too
            return lambda *args, **kwargs: outputs.pop(0)(len(activations)) if outputs else own(*args, **kwargs)

        forwards = {module: stand_in(outputs, module.forward) for module, outputs in waiting.items()}
        at_cut = self.at.forward
        forwards[self.at] = lambda _input, *args, **kwargs: at_cut(activations, *args, **kwargs)
        before = {module: module.__dict__.get("forward") for module in forwards}
        try:
            for module, forward in forwards.items():
                module.__dict__["forward"] = forward
            yield
        finally:
            for module, own in before.items():
                del module.__dict__["forward"]
                if own is not None:
                    module.__dict__["forward"] = own

    def _like(self, output: Any, batch: int) -> Make:
        """A function that makes memory like `output` for another batch size; what is no tensor stays."""
        if isinstance(output, (tuple, list)):
            parts, kind = [self._like(part, batch) for part in output], type(output)
            return lambda b: kind(part(b) for part in parts)
        if not isinstance(output, Tensor) or not output.ndim or output.shape[0] % batch:
            return lambda _: output
        each, rest, dtype, device = output.shape[0] // batch, output.shape[1:], output.dtype, output.device
        return lambda b: self._empty((each * b, *rest), dtype=dtype, device=device)


def _poisoned(shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory that spoils whatever is computed from it; empty memory may hold the very values of a moment ago."""
    return torch.full(shape, torch.nan if dtype.is_floating_point else 0, dtype=dtype, device=device)
