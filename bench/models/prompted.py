"""Prompted causal language models: for a class of text (generation), or for the class of a text (prompt and verbaliser).

Nothing is trained. GPT-2, phi-1.5, or any other model that transformers knows. Shapes: B texts, L tokens, V tokens of the model, U pieces
that may be generated, P tokens of a prompt, D hidden width.
"""

from __future__ import annotations

import re
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.models.resolve import pretrained_name, pretrained_sha256, resolve, weights_sha256
from tdbench.bench.models.task_lm import TaskLM, Vocabulary
from tdbench.bench.training.modules import Float32Linear, Tokenizer, silence
from tdbench.bench.training.torch_learner import TorchLearner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.batches import Tokenize
    from tdbench.bench.training.training_set import TrainingSet

_WORD = re.compile(r"[a-z]+(['-][a-z]+)*|[.,;:!?']|[0-9]{1,4}")
"""What may stand in generated text (GRADMM bans other pieces): plain words and parts of words, marks, short numbers."""


@cache
def _loaded(folder: Any, _hash: str) -> Any:
    from transformers import AutoModelForCausalLM

    silence()
    try:
        # Newer releases load some models in half precision unless told otherwise.
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except ValueError as error:
        raise PrerequisiteError(f"{folder} holds no causal language model: {str(error).splitlines()[0]}") from None
    return model.eval().requires_grad_(False)


def load_causal(name: str) -> Any:
    """Returns a causal language model with frozen weights; read once a process and shared.

    Args:
        name: `gpt2`, `phi-1_5` or `hf:<id or folder>`.

    Raises:
        PrerequisiteError: It is nowhere to be had, or no causal language model.
    """
    folder = resolve(pretrained_name(name))
    return _loaded(folder, weights_sha256(folder))


class LastPosition(nn.Module):
    """Scores of the token that follows a text: (B, L) -> (B, V); the body in the compute type, the scores in float32.

    The body's weights stay as they are, so it holds them in the compute type. Its attention is computed step by step, and its
    activation in one: on short texts the fused attention of a CPU takes longer, forwards and backwards.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.config = model.base_model, model.config
        self.backbone.set_attn_implementation("eager")
        _fuse_activations(self.backbone)
        table = model.get_output_embeddings()
        self.head = Float32Linear(table.in_features, table.out_features, bias=table.bias is not None)
        with torch.no_grad():  # copies, because token vectors replace the token table that it may be tied to
            self.head.weight.copy_(table.weight)
            if table.bias is not None:
                self.head.bias.copy_(table.bias)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Turns the body's weights into a compute type; tables such as those of rotary positions stay exact."""
        for weight in self.backbone.parameters():
            weight.data = weight.data.to(dtype)

    def get_input_embeddings(self) -> nn.Module:
        """Returns the token table, as transformers models do."""
        return self.backbone.get_input_embeddings()  # type: ignore[operator, no-any-return]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """Returns float32 scores."""
        return self.of_vectors(self.get_input_embeddings()(input_ids), attention_mask)

    def of_vectors(self, x_BLE: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Returns the float32 scores behind texts of token vectors."""
        x_BLE = x_BLE.to(next(self.backbone.parameters()).dtype)
        hidden_BLD = self.backbone(inputs_embeds=x_BLE, attention_mask=attention_mask).last_hidden_state
        last_B = attention_mask.sum(1) - 1
        return self.head(hidden_BLD[torch.arange(len(last_B), device=last_B.device), last_B].float())


def _fuse_activations(module: nn.Module) -> None:
    """Lets one kernel compute the same function that some models spell out in eight."""
    from transformers.activations import NewGELUActivation

    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))


class Asked(TorchLearner):
    """A causal language model that reads a text and a template, such as ` It was `, and says what comes next."""

    name = "asked"
    has_token_table = True

    def __init__(self, model: str, template: str) -> None:
        super().__init__()
        self._model, self._template = model, template

    def identity(self) -> dict[str, Any]:
        """Names the model by the content of its files, and the template."""
        return {
            "name": self.name,
            "model": pretrained_sha256(self._model),
            "template": self._template,
            "pooling": "last",
        }

    def tokenizer(self, train: TrainingSet) -> Tokenize:  # noqa: ARG002 - pretrained
        """Returns the model's own tokenizer, the template behind every text."""
        return Tokenizer(resolve(pretrained_name(self._model)), suffix=self._template)

    def module(self, n_classes: int, notes: list[str]) -> nn.Module:  # noqa: ARG002 - the vocabulary is the head
        """Loads the weights."""
        import copy

        return LastPosition(copy.deepcopy(load_causal(self._model)).requires_grad_(True))


def label_tokens(tokenizer: Tokenizer, words: tuple[str, ...], template: str) -> list[int]:
    """Returns the first token of every label word as it would follow the template (GRADMM, section 5.1).

    Raises:
        UsageError: Two words begin with the same token.
    """
    inner: Any = tokenizer.inner
    if not all(word.strip() for word in words):
        raise UsageError(f"a label word is empty: {list(words)}; give one for every class by method.label_words.")
    blank = "" if template.endswith((" ", "\n")) else " "
    firsts = [int(inner(blank + word, add_special_tokens=False)["input_ids"][0]) for word in words]
    if len(set(firsts)) < len(firsts):
        same = [w for w, t in zip(words, firsts, strict=True) if firsts.count(t) > 1]
        raise UsageError(f"the label words {same} begin with the same token; give others by method.label_words.")
    return firsts


class _Prompted(nn.Module):
    """A causal model behind a task language model's ids: a class mark stands for that class's whole prompt.

    Args:
        model: The causal model.
        pieces_U: The model's ids of the pieces that may be generated.
        prompts_CP: The model's ids of every class's prompt, all of one length.
        between: The model's id between fields.
        end: The model's id behind a text.
    """

    def __init__(
        self, model: Any, pieces_U: NDArray[np.int64], prompts_CP: NDArray[np.int64], between: int, end: int
    ) -> None:
        super().__init__()
        self.inner, self.config, self._n_pieces = model, model.config, len(pieces_U)
        self.prompts_CP = torch.from_numpy(prompts_CP)
        marks = np.full(len(prompts_CP), end)
        self.ids = torch.from_numpy(np.concatenate([pieces_U, marks, [between, end]]))

    def forward(self, input_ids: torch.Tensor, past_key_values: Any = None, use_cache: bool = False) -> SimpleNamespace:
        """Returns `logits` (B, L, U + C + 2), minus infinity for class marks."""
        device = input_ids.device
        ids, prompts = self.ids.to(device), self.prompts_CP.to(device)
        n_skipped = 0
        given_BL = ids[input_ids]
        if past_key_values is None or past_key_values.get_seq_length() == 0:
            own_B = input_ids[:, 0] - self._n_pieces
            given_BL = torch.cat([prompts[own_B], given_BL[:, 1:]], dim=1)
            n_skipped = prompts.shape[1] - 1
        out = self.inner(input_ids=given_BL, past_key_values=past_key_values, use_cache=use_cache)
        logits = out.logits[:, n_skipped:][:, :, ids]
        marks = slice(self._n_pieces, self._n_pieces + len(prompts))
        logits[:, :, marks] = -torch.inf
        return SimpleNamespace(logits=logits, past_key_values=out.past_key_values)


def prompted_lm(name: str, prompt: str, labels: tuple[str, ...], max_length: int, device: str) -> TaskLM:
    """Returns a causal model that is asked for texts of a class: the same interface as the task's own language model.

    Args:
        name: `gpt2`, `phi-1_5` or `hf:<id or folder>`.
        prompt: Contains `{label}`; every text is generated behind it, so that the model always knows the class.
        labels: What stands for `{label}`, class by class.
        max_length: Longest text in tokens, marks included.
        device: Where it runs.

    Raises:
        UsageError: The prompt does not name the label.
    """
    if "{label}" not in prompt:
        raise UsageError(f"the prompt {prompt!r} does not say the label; put {{label}} into it.")
    model = load_causal(name).to(device)
    tokenizer = Tokenizer(resolve(pretrained_name(name)))
    inner: Any = tokenizer.inner
    pieces = _plain_pieces(inner, model.get_input_embeddings().num_embeddings)
    prompts = [inner(prompt.replace("{label}", label), add_special_tokens=False)["input_ids"] for label in labels]
    begin = next(i for i in (inner.bos_token_id, inner.eos_token_id, tokenizer.pad_id) if i is not None)
    width = 1 + max(map(len, prompts))
    filled = np.array([[begin] * (width - len(ids)) + list(ids) for ids in prompts], dtype=np.int64)
    end = next(i for i in (inner.eos_token_id, begin) if i is not None)
    between = [end, *inner("\n", add_special_tokens=False)["input_ids"]][-1]  # some tokenizers know no line break
    wrapped = _Prompted(model, pieces, filled, between, end)
    vocabulary = Vocabulary.of_pieces(pieces, len(labels))
    return TaskLM(vocabulary, wrapped, max_length, device, perplexity=float("nan"), tokenizer=tokenizer)


def _plain_pieces(inner: Any, table_size: int) -> NDArray[np.int64]:
    """Returns the ids, within the token table, of pieces of plain text."""
    special = set(inner.all_special_ids)
    texts = inner.batch_decode([[i] for i in range(min(len(inner), table_size))])
    return np.array(
        [i for i, text in enumerate(texts) if i not in special and _WORD.fullmatch(text.strip().lower())],
        dtype=np.int64,
    )
