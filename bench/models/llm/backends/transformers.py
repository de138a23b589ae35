"""Backend of causal models in this process: batched generation in which every request has a noise of its own.

So a draw depends on what else is in the batch by the rounding of scores alone. torch is imported when a model is opened, because names of
models are read long before.

Shapes: B requests, L tokens, V tokens of the model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tdbench.bench.errors import LLMStopError
from tdbench.bench.models.llm.access import ModelName, Resources
from tdbench.bench.models.llm.client import Failure, Reply, Request, Sampling, cut
from tdbench.bench.models.resolve import CAUSAL, available, pretrained_name, pretrained_sha256, resolve, shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import torch

    from tdbench.bench.models.llm.client import OnReply
    from tdbench.bench.settings import LLMSettings

_BATCH = 32


@dataclass(frozen=True)
class _Question:
    place: int
    ids: list[int]
    stop: tuple[str, ...]
    seed: int


class TransformersName(ModelName):
    """`hf:<id or folder>`, or a short name of a known model."""

    prefix = "hf"
    spelling = f"hf:<id or folder>, {' or '.join(CAUSAL)}"
    cacheable = True

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Reads `hf:` names and short ones; both stay as they are."""
        return cls(text) if text in CAUSAL or super().read(text) else None

    @property
    def text(self) -> str:
        """The name as options spell it."""
        return self.model

    @property
    def shown(self) -> str:
        """The name without folders of the machine."""
        return shown_name(self.model)

    @property
    def identity(self) -> str:
        """A hash of the model's files."""
        return pretrained_sha256(self.model)

    @property
    def recorded(self) -> str:
        """The name; a folder's by its last part and its content."""
        return self.text if self.shown == pretrained_name(self.model) else f"hf:{self.shown}@{self.identity[:12]}"

    def problem(self, settings: LLMSettings) -> str | None:  # noqa: ARG002 - no server
        """Returns why the model's files are nowhere to be had, or None."""
        return available(pretrained_name(self.model))

    def open(self, resources: Resources) -> TransformersBackend:
        """Returns a backend with the model in memory."""
        return TransformersBackend(self.model, resources.device)


class TransformersBackend:
    """A causal language model that transformers knows.

    Args:
        name: `gpt2`, `phi-1_5` or `hf:<id or folder>`.
        device: Where it runs.

    Raises:
        PrerequisiteError: It is nowhere to be had, or no causal language model.
    """

    reads_spec = False

    def __init__(self, name: str, device: str) -> None:
        from tdbench.bench.models.prompted import load_causal
        from tdbench.bench.models.row_generator import end_of
        from tdbench.bench.training.modules import Tokenizer
        from tdbench.bench.training.prepared import compute_dtype

        self._name, self._device, self._dtype = name, device, compute_dtype(device)
        self._model = load_causal(name).to(device)
        self._inner: Any = Tokenizer(resolve(pretrained_name(name))).inner
        self._end = end_of(self._inner, self._model)
        self._room = int(getattr(self._model.config, "max_position_embeddings", None) or 2048)

    @property
    def supports_chat(self) -> bool:
        """Whether its tokenizer knows how conversations are written: models that were never taught to chat have no template."""
        return bool(self._inner.chat_template)

    @property
    def backend_id(self) -> dict[str, Any]:
        """Weights and the library that draws."""
        return {
            "kind": "hf",
            "sha256": pretrained_sha256(self._name),
            "transformers": version("transformers"),
            "device": self._device.partition(":")[0],
            "dtype": str(self._dtype),
        }

    def answer(
        self, requests: Sequence[Request], sampling: Sampling, seeds: Sequence[int], on_reply: OnReply
    ) -> dict[int, Failure]:
        """Answers in batches of similar length and the same ends."""
        questions = [
            _Question(place, self._ids(request), request.stop, seeds[place]) for place, request in enumerate(requests)
        ]
        failures, fitting = {}, []
        for one in questions:
            if len(one.ids) + sampling.max_tokens <= self._room:
                fitting.append(one)
            else:
                why = f"a question of {len(one.ids)} tokens leaves no room for a reply; the model has {self._room}"
                failures[one.place] = Failure(reason=why)
        for stop in dict.fromkeys(one.stop for one in fitting):
            order = sorted((one for one in fitting if one.stop == stop), key=lambda one: len(one.ids))
            for start in range(0, len(order), _BATCH):
                self._batch(order[start : start + _BATCH], stop, sampling, on_reply)
        return failures

    def _ids(self, request: Request) -> list[int]:
        from tdbench.bench.models.row_generator import opening

        if request.mode == "complete":
            return opening(self._inner, request.prompt)
        if not self.supports_chat:
            raise LLMStopError(
                f"'{self._name}' has no chat template: it was not taught to follow instructions, and can only continue texts."
            )
        messages = [message.model_dump() for message in request.messages]
        encoded = self._inner.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    def _batch(self, questions: list[_Question], stop: tuple[str, ...], sampling: Sampling, on_reply: OnReply) -> None:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        started, cpu = time.perf_counter(), time.process_time()
        rows = [one.ids for one in questions]
        width = max(map(len, rows))
        ids_BL = torch.tensor([[self._end] * (width - len(row)) + row for row in rows], device=self._device)
        real_BL = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device)
        rule = GenerationConfig(
            do_sample=False,  # the noise of `Draws` makes the greatest score a draw
            max_new_tokens=sampling.max_tokens,
            eos_token_id=self._end,
            pad_token_id=self._end,
            stop_strings=list(stop) or None,
        )
        more: dict[str, Any] = {"tokenizer": self._inner} if stop else {}
        if sampling.temperature > 0:
            more["logits_processor"] = LogitsProcessorList([Draws(sampling, [one.seed for one in questions])])
        kind, mixed = self._device.partition(":")[0], self._dtype is not torch.float32
        with torch.no_grad(), torch.autocast(kind, dtype=self._dtype, enabled=mixed):
            out_BL = self._model.generate(input_ids=ids_BL, attention_mask=real_BL, generation_config=rule, **more)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        for row, one in zip(out_BL[:, width:].tolist(), questions, strict=True):
            ended = self._end in row
            reply_ids = row[: row.index(self._end)] if ended else row
            text = self._inner.decode(reply_ids, skip_special_tokens=True)
            short = cut(text, stop)
            on_reply(
                one.place,
                Reply(
                    text=short,
                    finish="stop" if ended or short != text else "length",
                    tokens_in=len(one.ids),
                    tokens_out=len(reply_ids),
                    wall_s=wall_s / len(rows),
                    cpu_s=cpu_s / len(rows),
                ),
            )


class Draws:
    """Turns the greatest score into a draw: Gumbel noise from every row's own generator, after temperature and nucleus.

    Args:
        sampling: Temperature, above 0, and share of the probability that is drawn from.
        seeds: One for every row.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        import torch

        self._sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]

    def __call__(self, _ids_BL: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        """Returns noisy scores, minus infinity outside of the nucleus."""
        import torch

        scores_BV = scores_BV.float() / self._sampling.temperature
        if self._sampling.top_p < 1:
            sorted_BV, order_BV = scores_BV.sort(dim=1, descending=True)
            share_BV = torch.softmax(sorted_BV, dim=1)
            outside_BV = share_BV.cumsum(1) - share_BV >= self._sampling.top_p
            scores_BV = scores_BV.masked_fill(outside_BV.scatter(1, order_BV, outside_BV), -torch.inf)
        uniform_BV = torch.stack([torch.rand(scores_BV.shape[1], generator=one) for one in self._generators])
        noise_BV = -torch.log(-torch.log(uniform_BV.clamp(1e-10, 1 - 1e-7)))
        return scores_BV + noise_BV.to(scores_BV.device)
