"""The packed BART encoder: no padding, fused products, and in the last layer only what position 0 needs.

All of it is exact: the sums are those of Hugging Face's encoder for a single text, without those that do not reach
the feature. Linear layers and norms run on (tokens, dim), whatever texts the tokens belong to; attention sees each
text's own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jdq.worker.encoder.attention import attend, text_means, varlen_kernel
from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.float8 import Rows
from jdq.worker.encoder.fused import fused_kernels
from jdq.worker.encoder.layout import Layout, layout_of, place
from jdq.worker.encoder.linear import Linear, dtype_of, make_linear
from jdq.worker.encoder.options import CLS
from jdq.worker.encoder.shape import POSITION_OFFSET, BartShape

NORM_EPS = 1e-5  # PyTorch's default, which BART takes
Norm = tuple[Tensor, Tensor]
Read = Callable[[str], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One encoder layer. Where only position 0 is read, the last one has a `q` of its own, and `qkv` no queries."""

    q: Linear | None
    qkv: Linear
    out: Linear
    attention_norm: Norm
    fc1: Linear
    fc2: Linear
    final_norm: Norm


class PackedBart:
    """A BART or mBART encoder that gives each text's last hidden state at position 0, or the mean of all its states."""

    padded = False

    def __init__(
        self,
        shape: BartShape,
        read: Read,
        *,
        precision: str,
        device: str,
        rows: int,
        poolings: Sequence[str] = (CLS,),
        all_in_float8: bool = True,
    ) -> None:
        """`read` gives a float32 tensor by its name in `BartShape.tensors`; `rows` the usual tokens per batch.

        Without `all_in_float8`, float8 leaves the second product of the feed-forward in bfloat16, which loses the most.
        """
        self.shape = shape
        self.device = device
        self.poolings = tuple(poolings)
        self.dtype = dtype_of(precision)
        self._precision, self._rows = precision, rows
        self._fc2_in_float8 = all_in_float8 and precision == "float8"
        self._fused = fused_kernels(device) if self.dtype == torch.bfloat16 else None
        self._varlen = varlen_kernel(device, self.dtype, shape.dim // shape.heads)
        self._tokens = self._place(read("embed_tokens.weight") * shape.embed_scale)
        self._positions = self._place(read("embed_positions.weight")[POSITION_OFFSET:])
        self._embedding_norm = self._norm(read, "layernorm_embedding")
        self._last_norm = self._norm(read, "layer_norm") if shape.pre_norm else None
        self._layers = [self._layer(read, i) for i in range(shape.layers)]
        self.size_bytes = self._tokens.nbytes + self._positions.nbytes + sum(map(_layer_bytes, self._layers))

    def pooled(self, batch: Batch) -> Tensor:
        """(texts, poolings x dim), on the device, in the order of the batch: the poolings are side by side."""
        # Triton starts kernels on the current device.
        with torch.inference_mode(), torch.cuda.device_of(self._tokens):  # type: ignore[no-untyped-call]
            layout = layout_of(batch, self.device, varlen=self._varlen)
            x = self._embed(batch)
            rows: Rows = x
            for layer in self._layers:
                x, rows = self._step(layer, x, rows, layout)
            x = x if self._last_norm is None else self._normed(x, self._last_norm)
            return x if self._only_first else torch.cat([self._pool(x, layout, name) for name in self.poolings], dim=1)

    def _pool(self, x: Tensor, layout: Layout, name: str) -> Tensor:
        """(texts, dim) float32 of the last hidden states (tokens, dim)."""
        return x.index_select(0, layout.firsts).to(torch.float32) if name == CLS else text_means(x, layout)

    @property
    def _only_first(self) -> bool:
        """Whether the last layer's other positions are not read."""
        return self.poolings == (CLS,)

    def _embed(self, batch: Batch) -> Tensor:
        x = F.embedding(place(batch.ids, self.device), self._tokens)
        x += F.embedding(place(batch.positions, self.device), self._positions)
        return self._normed(x, self._embedding_norm)

    def _step(self, layer: Layer, x: Tensor, rows: Rows, layout: Layout) -> tuple[Tensor, Rows]:
        """BART's order: attention, add, norm, feed-forward, add, norm; or mBART's, with each norm first.

        `rows` and the second result are x as products take it.
        A layer with a `q` of its own gives only each text's first row: of the others it needs keys and values.
        """
        pre_norm = self.shape.pre_norm
        inner = self._normed(x, layer.attention_norm) if pre_norm else x
        heads = self._heads(layer.qkv(inner if pre_norm else rows))
        if layer.q is not None:
            x, inner = (each.index_select(0, layout.firsts) for each in (x, inner))
            heads = (*self._heads(layer.q(inner)), *heads)
        q, k, v = heads
        attended = attend(q, k, v, layout)
        if not pre_norm:
            x, rows = self._normed_sum(layer.out, attended, x, layer.attention_norm)
            return self._normed_sum(layer.fc2, layer.fc1.activated(rows), x, layer.final_norm)
        x = layer.out.added(attended, x)
        x = layer.fc2.added(layer.fc1.activated(self._normed(x, layer.final_norm)), x)
        return x, x

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """(rows, n x dim) -> n of (rows, heads, head dim)."""
        return x.view(len(x), -1, self.shape.heads, self.shape.dim // self.shape.heads).unbind(1)

    def _normed(self, x: Tensor, norm: Norm) -> Tensor:
        return F.layer_norm(x, (self.shape.dim,), norm[0], norm[1], NORM_EPS)

    def _normed_sum(self, product: Linear, x: Tensor, residual: Tensor, norm: Norm) -> tuple[Tensor, Rows]:
        """LayerNorm(product(x) + residual), and the same as products take it."""
        if self._fused is not None and self._precision == "float8":
            return self._fused.float8_normed_sum(product(x), residual, *norm, NORM_EPS)
        if self._fused is not None:
            y = self._fused.normed_sum(product(x), residual, *norm, NORM_EPS)
        else:
            y = self._normed(product.added(x, residual), norm)
        return y, y

    def _layer(self, read: Read, i: int) -> Layer:
        attention, last = f"layers.{i}.self_attn", self._only_first and i == self.shape.layers - 1
        queries = [f"{attention}.q_proj"]
        keys_values = [f"{attention}.k_proj", f"{attention}.v_proj"]
        return Layer(
            q=self._linear(read, *queries) if last else None,
            qkv=self._linear(read, *([] if last else queries), *keys_values),
            out=self._linear(read, f"{attention}.out_proj"),
            attention_norm=self._norm(read, f"layers.{i}.self_attn_layer_norm"),
            fc1=self._linear(read, f"layers.{i}.fc1", activation="" if self._fc2_in_float8 else self.shape.activation),
            fc2=self._fc2(read, f"layers.{i}.fc2"),
            final_norm=self._norm(read, f"layers.{i}.final_layer_norm"),
        )

    def _fc2(self, read: Read, name: str) -> Linear:
        if self._fc2_in_float8:
            return self._linear(read, name, input_activation=self.shape.activation)
        return self._linear(read, name, precision="bfloat16" if self._precision == "float8" else self._precision)

    def _linear(
        self, read: Read, *names: str, precision: str = "", activation: str = "", input_activation: str = ""
    ) -> Linear:
        """One layer that does several linear maps of the same rows; its result is theirs side by side."""
        return make_linear(
            torch.cat([read(f"{name}.weight") for name in names]),
            torch.cat([read(f"{name}.bias") for name in names]),
            activation=activation,
            input_activation=input_activation,
            precision=precision or self._precision,
            device=self.device,
            rows=self._rows,
        )

    def _norm(self, read: Read, name: str) -> Norm:
        return self._place(read(f"{name}.weight")), self._place(read(f"{name}.bias"))

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)


def _layer_bytes(layer: Layer) -> int:
    linears = (layer.q, layer.qkv, layer.out, layer.fc1, layer.fc2)
    return sum(linear.size_bytes for linear in linears if linear is not None)
