"""Rows in float8, each with a scale of its own, so that a text's feature does not depend on its batch."""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_SCALE = 1e-12  # for rows of zeros


class Float8Rows(NamedTuple):
    """Rows in float8, (rows, dim), and their scales, (rows, 1) float32: the largest value of each row becomes 448."""

    numbers: Tensor
    scales: Tensor


Rows = Tensor | Float8Rows  # what a product in float8 takes


def to_float8(x: Tensor) -> Float8Rows:
    """The rows of x in float8, by PyTorch's own calls."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = x.abs().amax(dim=1, keepdim=True).to(torch.float32).clamp_(min=LEAST_SCALE) / largest
    return Float8Rows((x / scale).to(torch.float8_e4m3fn), scale)
