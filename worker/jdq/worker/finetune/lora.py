"""Low-rank updates of the attention's weights, merged into them at the end: the saved model is a plain one.

W + B A with B (out, rank) and A (rank, in); only A and B are trained. (Hu et al., 2021, "LoRA".)
"""

import math

import torch
from torch import Tensor, nn

from jdq.worker.finetune.errors import BadOption

# The projections of queries and values, as BART, BERT, RoBERTa, MPNet, DistilBERT and DeBERTa name them.
TARGETS = ("q_proj", "v_proj", "query", "value", "attn.q", "attn.v", "q_lin", "v_lin", "query_proj", "value_proj")


class LowRank(nn.Module):
    """A frozen linear layer with a low-rank update that is trained."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))  # the first step starts from the plain model
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        base.requires_grad_(False)

    def forward(self, X: Tensor) -> Tensor:
        update: Tensor = X @ self.down.T @ self.up.T
        projected: Tensor = self.base(X)
        return projected + 2.0 * update

    def merged(self) -> nn.Linear:
        with torch.no_grad():
            self.base.weight += (2.0 * self.up @ self.down).to(self.base.weight.dtype)
        return self.base


def add_low_rank(model: nn.Module, rank: int) -> None:
    """Freezes all but the classifier, and adds an update to each query and value projection. Raises BadOption."""
    base = getattr(model, getattr(model, "base_model_prefix", ""), model)
    base.requires_grad_(False)
    names = [name for name, module in base.named_modules() if name.endswith(TARGETS) and isinstance(module, nn.Linear)]
    if not names:
        raise BadOption(f"--lora: no attention weights that jdq knows by name in {type(model).__name__}")
    for name in names:
        parent, _, child = name.rpartition(".")
        owner = base.get_submodule(parent)
        setattr(owner, child, LowRank(getattr(owner, child), rank))


def merge_low_rank(model: nn.Module) -> None:
    """Restores the plain linear layers, with the updates added to their weights."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LowRank):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.merged())
