"""One post-norm transformer layer on packed tokens, with its gradient written out.

y = LayerNorm(x + dropout(attention(x))); out = LayerNorm(y + dropout(feed-forward(y))) (Vaswani et al., 2017; BERT). Written by hand,
because torch's automatic differentiation would keep a padded copy of every step. Shapes: T tokens, D width, H heads, K width of a head,
G texts of a group, W its padded length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tdbench.bench.training.dropout import MaskSource, keep, keep_
from tdbench.bench.training.packing import Group, Packed

_NORM_BACKWARD = torch.ops.aten.native_layer_norm_backward
_SOFTMAX_BACKWARD = torch.ops.aten._softmax_backward_data
_GELU_BACKWARD = torch.ops.aten.gelu_backward


@dataclass(frozen=True)
class LayerShape:
    """What a layer computes besides its weights.

    Args:
        heads: H.
        eps: Of both normalisations.
        gelu: `none` for the exact function, `tanh` for the approximation.
        p_attention: Dropout of attention weights.
        p_output: Dropout of the attention's output.
        p_feed: Dropout of the feed-forward part's output.
    """

    heads: int
    eps: float
    gelu: str
    p_attention: float
    p_output: float
    p_feed: float


@dataclass(eq=False)
class _Block:
    """What the backward pass needs of one group's attention."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: torch.Tensor
    kept: torch.Tensor
    mask: torch.Tensor | None
    scale: float


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Returns x W' + b by the fastest product that torch has on a CPU."""
    if x.dtype is torch.bfloat16 and torch.backends.mkldnn.is_available():
        if torch.is_inference_mode_enabled():
            # In oneDNN's own layout the product is a tenth faster; with a gradient to come this does not pay.
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, x.shape[0])
        # oneDNN adds the bias inside the product; torch's own linear first copies it into every row of the result.
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


def _split(rows: torch.Tensor, group: Group, parts: int, heads: int) -> torch.Tensor:
    """Pads a group's (T, parts*D) rows and moves the heads forward: (parts, G*H, W, K)."""
    cells = rows[group.start : group.stop]
    if group.bias_G1W is not None:
        cells = cells.index_select(0, group.sources)
    split = cells.view(group.n_texts, group.width, parts, heads, -1).permute(2, 0, 3, 1, 4).contiguous()
    return split.view(parts, group.n_texts * heads, group.width, -1)


def _join(blocks: torch.Tensor, group: Group, heads: int, out: torch.Tensor) -> None:
    """Undoes `_split`: writes the real tokens of (parts, G*H, W, K) into rows of `out`."""
    parts, _, width, head_width = blocks.shape
    moved = blocks.view(parts, group.n_texts, heads, width, head_width).permute(1, 3, 0, 2, 4)
    rows = moved.reshape(group.n_texts * width, -1)
    if group.bias_G1W is None:
        out[group.start : group.stop] = rows
    else:
        torch.index_select(rows, 0, group.cells, out=out[group.start : group.stop])


def _attend(
    qkv: torch.Tensor, group: Group, heads: int, source: MaskSource | None, p: float
) -> tuple[torch.Tensor, _Block]:
    query, key, value = _split(qkv, group, 3, heads)
    root = query.shape[-1] ** -0.5
    if group.bias_G1W is None:
        scores = torch.baddbmm(qkv.new_empty(()), query, key.transpose(1, 2), beta=0, alpha=root)
    else:
        bias = group.bias_G1W.to(qkv.dtype).repeat_interleave(heads, dim=0)
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=root)
    weights = torch.softmax(scores, -1)
    if source is None or p == 0.0:
        return torch.bmm(weights, value), _Block(query, key, value, weights, weights, None, 1.0)
    mask, scale = source.draw(tuple(weights.shape), p)
    kept = keep(weights, mask)
    out = torch.baddbmm(qkv.new_empty(()), kept, value, beta=0, alpha=scale)
    return out, _Block(query, key, value, weights, kept, mask, scale)


def _attend_backward(grad: torch.Tensor, block: _Block) -> torch.Tensor:
    """Maps the gradient of a block's output to that of query, key and value: (3, G*H, W, K)."""
    root = block.query.shape[-1] ** -0.5
    made = torch.empty(3, *block.query.shape, dtype=grad.dtype)
    nothing = grad.new_empty(())
    torch.baddbmm(nothing, block.kept.transpose(1, 2), grad, beta=0, alpha=block.scale, out=made[2])
    d_weights = torch.baddbmm(nothing, grad, block.value.transpose(1, 2), beta=0, alpha=block.scale)
    if block.mask is not None:
        keep_(d_weights, block.mask)
    d_scores = _SOFTMAX_BACKWARD(d_weights, block.weights, -1, d_weights.dtype)
    torch.baddbmm(nothing, d_scores, block.key, beta=0, alpha=root, out=made[0])
    torch.baddbmm(nothing, d_scores.transpose(1, 2), block.query, beta=0, alpha=root, out=made[1])
    return made


def _add(
    x: torch.Tensor, change: torch.Tensor, source: MaskSource | None, p: float
) -> tuple[torch.Tensor, tuple[torch.Tensor | None, float]]:
    """Returns x + dropout(change), overwriting `change`; and the mask with its scale."""
    if source is None or p == 0.0:
        return x + change, (None, 1.0)
    mask, scale = source.draw(tuple(change.shape), p)
    return torch.add(x, keep_(change, mask), alpha=scale), (mask, scale)


def _undo(grad: torch.Tensor, dropped: tuple[torch.Tensor | None, float]) -> torch.Tensor:
    mask, scale = dropped
    return grad if mask is None else keep_(grad * scale, mask)


class PackedLayer(torch.autograd.Function):
    """apply(x_TD, packed, shape, source, 12 weights) -> (T, D). `source` None means no dropout."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, packed: Packed, shape: LayerShape, source: MaskSource | None, *weights: torch.Tensor
    ) -> torch.Tensor:
        """Weights: qkv, out, norm, up, down, norm; each as matrix (or gain) and bias."""
        qkv_w, qkv_b, out_w, out_b, gain1, bias1, up_w, up_b, down_w, down_b, gain2, bias2 = weights
        width = [x.shape[1]]
        qkv = linear(x, qkv_w, qkv_b)
        mixed = torch.empty_like(x)
        blocks = []
        for group in packed.groups:
            out, block = _attend(qkv, group, shape.heads, source, shape.p_attention)
            _join(out.unsqueeze(0), group, shape.heads, mixed)
            blocks.append(block)
        sum1, dropped1 = _add(x, linear(mixed, out_w, out_b), source, shape.p_output)
        middle, mean1, rstd1 = torch.native_layer_norm(sum1, width, gain1, bias1, shape.eps)
        raised = linear(middle, up_w, up_b)
        active = torch.nn.functional.gelu(raised, approximate=shape.gelu)
        sum2, dropped2 = _add(middle, linear(active, down_w, down_b), source, shape.p_feed)
        last, mean2, rstd2 = torch.native_layer_norm(sum2, width, gain2, bias2, shape.eps)
        if x.requires_grad or any(w.requires_grad for w in weights):
            ctx.save_for_backward(*weights)
            ctx.shape, ctx.packed = shape, packed
            ctx.attention = (x, mixed, blocks, sum1, mean1, rstd1, dropped1)
            ctx.feed = (middle, raised, active, sum2, mean2, rstd2, dropped2)
        return last

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Returns the gradients of x and of the weights."""
        qkv_w, _, out_w, _, gain1, bias1, up_w, _, down_w, _, gain2, bias2 = ctx.saved_tensors
        width, every = [grads[0].shape[1]], [True, True, True]
        middle, raised, active, sum2, mean2, rstd2, dropped2 = ctx.feed
        d_sum2, d_gain2, d_bias2 = _NORM_BACKWARD(grads[0].contiguous(), sum2, width, mean2, rstd2, gain2, bias2, every)
        d_down = _undo(d_sum2, dropped2)
        d_raised = _GELU_BACKWARD(d_down @ down_w, raised, approximate=ctx.shape.gelu)
        d_middle = torch.addmm(d_sum2, d_raised, up_w)
        x, mixed, blocks, sum1, mean1, rstd1, dropped1 = ctx.attention
        d_sum1, d_gain1, d_bias1 = _NORM_BACKWARD(d_middle, sum1, width, mean1, rstd1, gain1, bias1, every)
        d_out = _undo(d_sum1, dropped1)
        d_qkv = _qkv_gradient(d_out @ out_w, ctx.packed, blocks, ctx.shape.heads)
        d_x = torch.addmm(d_sum1, d_qkv, qkv_w)
        if not any(ctx.needs_input_grad[4:]):
            return (d_x, *(None,) * 15)
        pairs = [(d_qkv, x), (d_out, mixed), (d_raised, middle), (d_down, active)]
        qkv, out, up, down = [(grad.t() @ rows, grad.sum(0)) for grad, rows in pairs]
        return (d_x, None, None, None, *qkv, *out, d_gain1, d_bias1, *up, *down, d_gain2, d_bias2)


def _qkv_gradient(d_mixed: torch.Tensor, packed: Packed, blocks: list[_Block], heads: int) -> torch.Tensor:
    d_qkv = d_mixed.new_empty(d_mixed.shape[0], 3 * d_mixed.shape[1])
    for group, block in zip(packed.groups, blocks, strict=True):
        padded = _split(d_mixed, group, 1, heads)[0]
        if group.bias_G1W is not None:
            # Padding cells repeat a real token; their output is never read, so its gradient is zero.
            by_cell = padded.view(group.n_texts, heads, group.width, -1).transpose(1, 2)
            by_cell[(group.padding // group.width, group.padding % group.width)] = 0
        _join(_attend_backward(padded, block), group, heads, d_qkv)
    return d_qkv
