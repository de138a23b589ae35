"""BERT-like encoders rebuilt on packed tokens, for training and prediction on a CPU.

Shapes: B texts, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tdbench.bench.training.dropout import MaskSource
from tdbench.bench.training.packed_layer import LayerShape, PackedLayer
from tdbench.bench.training.packing import Packed

_GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True)
class _Parts:
    """A layer's modules in the order query, key, value, out, norm, up, down, norm; and its constants."""

    modules: tuple[Any, ...]
    shape: LayerShape

    @property
    def weights(self) -> list[tuple[nn.Parameter, ...]]:
        """Matrix and offset of query, key and value together, then of every other module."""
        query, key, value, *others = self.modules
        first = [(query.weight, key.weight, value.weight), (query.bias, key.bias, value.bias)]
        return first + [(weight,) for module in others for weight in (module.weight, module.bias)]


def _bert_parts(layer: Any, config: Any) -> _Parts:
    own, out, last = layer.attention.self, layer.attention.output, layer.output
    modules = (
        own.query,
        own.key,
        own.value,
        out.dense,
        out.LayerNorm,
        layer.intermediate.dense,
        last.dense,
        last.LayerNorm,
    )
    rates = (own.dropout.p, out.dropout.p, last.dropout.p)
    return _Parts(modules, LayerShape(config.num_attention_heads, last.LayerNorm.eps, _GELU[config.hidden_act], *rates))


def _distilbert_parts(layer: Any, config: Any) -> _Parts:
    own, feed = layer.attention, layer.ffn
    modules = (
        own.q_lin,
        own.k_lin,
        own.v_lin,
        own.out_lin,
        layer.sa_layer_norm,
        feed.lin1,
        feed.lin2,
        layer.output_layer_norm,
    )
    rates = (own.dropout.p, 0.0, feed.dropout.p)
    return _Parts(modules, LayerShape(config.n_heads, layer.output_layer_norm.eps, _GELU[config.activation], *rates))


_READERS: dict[str, Callable[[Any, Any], _Parts]] = {
    "BertModel": _bert_parts,
    "RobertaModel": _bert_parts,
    "DistilBertModel": _distilbert_parts,
}


def can_pack(backbone: nn.Module) -> bool:
    """Tells whether a transformers model has the layers that `PackedBackbone` computes."""
    config = getattr(backbone, "config", None)
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    known = type(backbone).__name__ in _READERS and activation in _GELU and not getattr(config, "is_decoder", False)
    # One tensor holds the matrices of query, key and value, so a frozen one among them could not stay frozen.
    return known and all(parameter.requires_grad for parameter in backbone.parameters())


class _Layer(nn.Module):
    """The weights of one layer: matrices and their biases in the compute type, normalisation in float32."""

    def __init__(self, parts: _Parts, dtype: torch.dtype) -> None:
        super().__init__()
        norms = [False, False] + [isinstance(m, nn.LayerNorm) for m in parts.modules[3:] for _ in range(2)]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.cat(w).detach().to(torch.float32 if norm else dtype, copy=True))
            for w, norm in zip(parts.weights, norms, strict=True)
        )
        self.shape = parts.shape

    def forward(self, x_TD: torch.Tensor, packed: Packed, source: MaskSource | None) -> torch.Tensor:
        return PackedLayer.apply(x_TD, packed, self.shape, source, *self.weights)  # type: ignore[no-any-return]


class PackedBackbone(nn.Module):
    """Takes the place of a BERT, RoBERTa or DistilBERT model and gives the same hidden states.

    Weights that matrix products use are kept in the compute type (their float32 masters are the optimiser's); embeddings and
    normalisation stay float32.

    Args:
        backbone: The transformers model; its weights are copied.
        dtype: Compute type.
    """

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        whole: Any = backbone
        self.config = whole.config
        self.embeddings = whole.embeddings
        self.pooler = getattr(whole, "pooler", None)
        layers = whole.transformer.layer if hasattr(whole, "transformer") else whole.encoder.layer
        read = _READERS[type(whole).__name__]
        names = {id(weight): name for name, weight in backbone.named_parameters()}
        parts = [read(layer, whole.config) for layer in layers]
        self.layers = nn.ModuleList(_Layer(part, dtype) for part in parts)
        self.origins = {
            f"layers.{number}.weights.{place}": tuple(names[id(weight)] for weight in weights)
            for number, part in enumerate(parts)
            for place, weights in enumerate(part.weights)
        }
        """Names that its own weights had in `backbone`; some are several in one, one above the other. Other weights keep their names."""
        self.source: MaskSource | None = None
        """Where dropout masks come from in training mode."""
        self._dtype = dtype
        self._has_types = hasattr(whole.embeddings, "token_type_embeddings")
        self._counts_from: int | None = (
            int(whole.config.pad_token_id) if type(whole).__name__ == "RobertaModel" else None
        )

    def get_input_embeddings(self) -> nn.Module:
        """Returns the token table, as transformers models do."""
        return self.embeddings.word_embeddings  # type: ignore[no-any-return]

    def hidden(self, packed: Packed) -> torch.Tensor:
        """Returns (T, D) states of the last layer, in the compute type."""
        inputs = {"input_ids": packed.ids_T, "position_ids": self._places(packed)}
        if packed.types_T is not None and self._has_types:
            inputs["token_type_ids"] = packed.types_T
        x_TD = self.embeddings(**{name: ids.unsqueeze(0) for name, ids in inputs.items()})[0].to(self._dtype)
        source = self.source if self.training else None
        for layer in self.layers:
            x_TD = layer(x_TD, packed, source)
        return x_TD

    def _places(self, packed: Packed) -> torch.Tensor:
        """Returns (T) position ids; RoBERTa's start behind the padding id and leave out words that are the padding token."""
        if self._counts_from is None:
            return packed.places_T
        counted_T = (packed.ids_T != self._counts_from).long()
        sums_T = counted_T.cumsum(0)
        before_B = (sums_T - counted_T)[packed.starts_B]
        return (sums_T - torch.repeat_interleave(before_B, packed.lengths_B)) * counted_T + self._counts_from

    def mean(self, packed: Packed) -> torch.Tensor:
        """Returns (B, D) float32 means over every text's tokens, in the caller's order."""
        hidden_TD = self.hidden(packed).float()
        texts_T = torch.repeat_interleave(packed.order_B, packed.lengths_B)
        sums_BD = hidden_TD.new_zeros(len(packed.order_B), hidden_TD.shape[1]).index_add(0, texts_T, hidden_TD)
        lengths_B = torch.empty_like(packed.lengths_B).index_copy_(0, packed.order_B, packed.lengths_B)
        return sums_BD / lengths_B.unsqueeze(1)

    def forward(self, input_ids: Packed, **_: Any) -> BaseModelOutputWithPooling:
        """Returns what classification heads read: the first token's state (B, 1, D), and the pooler's output where there is one."""
        hidden_TD = self.hidden(input_ids)
        places_B = torch.empty_like(input_ids.starts_B).index_copy_(0, input_ids.order_B, input_ids.starts_B)
        first_B1D = hidden_TD.index_select(0, places_B).float().unsqueeze(1)
        pooled = None if self.pooler is None else self.pooler(first_B1D)
        return BaseModelOutputWithPooling(last_hidden_state=first_B1D, pooler_output=pooled)
