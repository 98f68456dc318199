"""Muon for the matrices of a model, AdamW for all else, as one optimizer.

Muon (Jordan et al. 2024; for larger models Liu et al. 2025, arXiv 2502.16982) replaces the update of a matrix by
the nearest orthogonal one. Both parts are torch's own. Updates are scaled to the size of AdamW's, so that one
learning rate serves both.
"""

from collections.abc import Callable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):  # type: ignore[misc]
    """`matrices` are the hidden layers' weights (two axes), `others` embeddings, norms, biases, convolutions."""

    def __init__(
        self,
        matrices: list[torch.nn.Parameter],
        others: list[torch.nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        given = [{"params": parameters} for parameters in (matrices, others) if parameters]
        super().__init__(given, {"lr": lr, "weight_decay": weight_decay})
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            named = {"lr": lr, "weight_decay": weight_decay, "adjust_lr_fn": "match_rms_adamw"}
            self._parts.append(torch.optim.Muon(matrices, **named))
        if others:
            self._parts.append(torch.optim.AdamW(others, lr=lr, betas=betas, weight_decay=weight_decay))
        self.param_groups = [part.param_groups[0] for part in self._parts]
        self._share()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where another one stopped."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Groups and state are one for schedules and checkpoints, and are those that the two parts work with."""
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.state = self.state


def muon_for(model: Any, *, lr: float, betas: tuple[float, float], weight_decay: float) -> MuonWithAdamW:
    """The optimizer of all parameters of the model that are to be tuned."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    tuned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in tuned if parameter.ndim == 2 and id(parameter) not in tables]
    chosen = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in tuned if id(parameter) not in chosen]
    return MuonWithAdamW(matrices, others, lr=lr, betas=betas, weight_decay=weight_decay)
