"""Times the steps of gradient matching with ADMM against a literal transcription of the published algorithm, on the same model and sizes.

    python benchmarks/matching.py [--texts 10] [--words 25] [--rounds 3] [--json]

The model is GPT-2 at half its width and vocabulary, with random weights and its head matched, as GRADMM matches the head of its language
model; 25 real texts of a class and 200 candidates, as published. Three ratios, published over ours, each the median of alternating rounds:

- `real_gradient_ratio`: class gradients of the head, one text and one backward pass at a time, against one pass over all texts;
- `step_ratio`: one update of the token vectors: the synthetic gradient with a graph by automatic differentiation, materialised for
  the whole head, against errors and head inputs alone;
- `projection_ratio`: top-k candidates decoded left to right, one text and one whole prefix at a time, against all texts at once with
  kept keys and values.

Ours computes in the type that the suite uses on the processor (bfloat16 where it has units for it), as the methods do. Results must be
equal: the largest relative differences are printed beside the ratios, of the timed run and of ours in float32 throughout, which must stay
below 1e-3.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bench.matching.gradients import HeadGradients, Heads, distances, head_gradients
from bench.matching.projection import Projection
from bench.models import task_lm
from bench.models.task_lm import TaskLM, Vocabulary
from bench.training.precision import compute_dtype

WIDTH, PIECES, LAYERS, TOP_K, REAL = 384, 25_000, 12, 200, 25
TOLERANCE = 1e-3


def main() -> None:
    """Measures, prints, and fails where the two sides differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=10, help="synthetic texts of one class")
    parser.add_argument("--words", type=int, default=25, help="token vectors of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    task_lm.compute_dtype = lambda _: torch.float32  # both sides compute alike
    bench = _Bench(arguments.texts, arguments.words)
    made: dict[str, Any] = {}
    for name, published, ours in (
        ("real_gradient", bench.published_gradient, bench.our_gradient),
        ("step", bench.published_step, bench.our_step),
        ("projection", bench.published_projection, bench.our_projection),
    ):
        bench.dtype = compute_dtype("cpu")
        made[f"{name}_ratio"], made[f"{name}_difference"] = _compare(published, ours, arguments.rounds)
        bench.dtype = torch.float32
        made[f"{name}_float32_difference"] = _compare(published, ours, 1)[1]
    print(json.dumps(made) if arguments.json else "\n".join(f"{k:28} {v:.4g}" for k, v in made.items()))
    unequal = [name for name, value in made.items() if name.endswith("float32_difference") and value > TOLERANCE]
    if unequal:
        raise SystemExit(f"results differ: {', '.join(unequal)}")


def _compare(
    published: Callable[[], torch.Tensor], ours: Callable[[], torch.Tensor], rounds: int
) -> tuple[float, float]:
    """Returns the median ratio of times and the largest difference of results, relative to the largest value."""
    ours()
    ratios, difference = [], 0.0
    for _ in range(rounds):
        times, results = [], []
        for work in (published, ours):
            started = time.perf_counter()
            results.append(work().detach().double())
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
        difference = max(difference, float((results[0] - results[1]).abs().max() / results[0].abs().max()))
    return statistics.median(ratios), difference


class _Bench:
    def __init__(self, n_texts: int, n_words: int) -> None:
        torch.manual_seed(0)
        self.dtype = torch.float32
        pieces = [(np.arange(PIECES),)]
        vocabulary = Vocabulary(pieces, n_classes=2)
        config = GPT2Config(
            vocab_size=len(vocabulary),
            n_positions=n_words + 2,
            bos_token_id=None,
            eos_token_id=None,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=6,
            tie_word_embeddings=False,
        )
        self.model: Any = GPT2LMHeadModel(config).eval()
        self.lm = TaskLM(vocabulary, self.model, n_words + 2, "cpu", perplexity=float("nan"))
        self.n_texts, self.n_words, self.label = n_texts, n_words, 7
        self.table = self.model.transformer.wte.weight.detach()
        self.real = torch.randint(0, PIECES, (REAL, n_words))
        self.words = torch.randint(0, PIECES, (n_texts, n_words))
        self.x = self.table[self.words] + 0.01 * torch.randn(n_texts, n_words, WIDTH)
        self.head = torch.nn.Parameter(self.model.lm_head.weight.detach().clone())
        self.bias = torch.nn.Parameter(torch.zeros(len(vocabulary)))
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.target = [torch.randn_like(self.head) / len(self.head), torch.randn_like(self.bias) / len(self.bias)]
        self.goal = HeadGradients(self.target[0][None, None], self.target[1][None, None])
        body = self.model.transformer
        self.bodies = {torch.float32: body, torch.bfloat16: copy.deepcopy(body).bfloat16()}
        lengths = np.full((n_texts, 1), n_words)
        source: Any = SimpleNamespace(
            tokenizer=SimpleNamespace(inner=SimpleNamespace(unk_token_id=None)),
            table_VE=self.table[:PIECES],
            device="cpu",
        )
        self.projection = Projection(source, self.lm, lengths, np.zeros(n_texts, dtype=np.int64), TOP_K)

    def _last(self, embeds: torch.Tensor) -> torch.Tensor:
        """Returns the head's input at the last place, as the published code computes it."""
        return self.model.transformer(inputs_embeds=embeds).last_hidden_state[:, -1]

    def _our_last(self, embeds: torch.Tensor) -> torch.Tensor:
        """Returns the same in the compute type."""
        body = self.bodies[self.dtype]
        return body(inputs_embeds=embeds.to(self.dtype)).last_hidden_state[:, -1].float()

    def _loss(self, h: torch.Tensor) -> torch.Tensor:
        scores = h @ self.head.t() + self.bias
        return torch.nn.functional.cross_entropy(scores, torch.full((len(h),), self.label))

    def published_gradient(self) -> torch.Tensor:
        """Specification 1.1: each real example alone, then the mean."""
        total = [torch.zeros_like(self.head), torch.zeros_like(self.bias)]
        for row in self.real:
            with torch.no_grad():
                h = self._last(self.table[row].unsqueeze(0))
            parts = torch.autograd.grad(self._loss(h), [self.head, self.bias])
            total = [kept + part / len(self.real) for kept, part in zip(total, parts, strict=True)]
        return torch.cat([part.flatten() for part in total])

    def our_gradient(self) -> torch.Tensor:
        """All texts in one pass, closed form."""
        with torch.no_grad():
            h = self._our_last(self.table[self.real])
            made = head_gradients(self._heads(), h, self._one_hot(len(h)), torch.zeros(len(h), dtype=torch.int64), 1)
        return torch.cat([made.weight_KGCD.flatten(), made.bias_KGC.flatten()])

    def _heads(self) -> Heads:
        return Heads(self.head.detach().unsqueeze(0), self.bias.detach().unsqueeze(0))

    def _one_hot(self, n: int) -> torch.Tensor:
        targets = torch.zeros(n, len(self.bias))
        targets[:, self.label] = 1
        return targets

    def published_step(self) -> torch.Tensor:
        """Specification 1.1 and 1.3, step 3: the synthetic gradient as tensors, its cosine distances, and back to the vectors.

        Its two regularisers have the weight 0 by default and are computed nevertheless, the language model's pass over all places
        included; so they are here.
        """
        x = self.x.clone().requires_grad_(True)
        scores = self.model(inputs_embeds=x).logits[:, :-1]
        perplexity = torch.nn.functional.cross_entropy(scores.flatten(0, 1), self.words[:, 1:].flatten())
        norm = (x.norm(dim=-1).mean() - 1.4) ** 2
        made = torch.autograd.grad(self._loss(self._last(x)), [self.head, self.bias], create_graph=True)
        likeness = [
            torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
            for a, b in zip(self.target, made, strict=True)
        ]
        (gradient,) = torch.autograd.grad(1 - (likeness[0] + likeness[1]) / 2 + 0.0 * perplexity + 0.0 * norm, x)
        return gradient

    def our_step(self) -> torch.Tensor:
        """Errors and head inputs alone."""
        x = self.x.clone().requires_grad_(True)
        groups = torch.zeros(self.n_texts, dtype=torch.int64)
        distance = distances(self.goal, self._heads(), self._our_last(x), self._one_hot(self.n_texts), groups)
        (gradient,) = torch.autograd.grad(distance.mean(), x)
        return gradient

    @torch.no_grad()
    def published_projection(self) -> torch.Tensor:
        """Specification 1.3: for every text and place the k nearest ids, and a pass over the prefix to choose one."""
        unit = torch.nn.functional.normalize(self.table[:PIECES], dim=1)
        chosen = []
        for text in self.x:
            prefix = [self.lm.vocabulary.of_class(0)]
            for vector in text:
                near = (unit @ torch.nn.functional.normalize(vector, dim=0)).topk(TOP_K).indices
                scores = self.model(input_ids=torch.tensor([prefix])).logits[0, -1]
                prefix.append(int(near[scores[near].argmax()]))
            chosen += prefix[1:]
        return torch.tensor(chosen)

    def our_projection(self) -> torch.Tensor:
        """All texts at once."""
        return self.projection.choose(self.x.flatten(0, 1))


if __name__ == "__main__":
    main()
