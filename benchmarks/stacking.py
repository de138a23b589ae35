"""Times many seeds trained as one stack against the same seeds one after the other, by the engine and by the transformers Trainer.

    python benchmarks/stacking.py [--members 20] [--model minilm|bert-base] [--steps 200] [--device cuda] [--json]

`bert-base` is the shape of BERT-base with random weights. All members train on random sets of AG News (10 texts a class, length 64), each
on its own. The Trainer (bf16, fused AdamW) and the engine alone are measured on `--alone` members after one to warm up, and scaled to all.
`largest_difference` is that of the final training logits between the stack and the members alone, without dropout and in float32, on
three members and five steps. With `--device cpu` the same code runs on small sizes; its times say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import numpy as np
import torch
from jobs import agnews, random_texts
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.training import engine
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.modules import MeanPooledClassifier, NativeClassifier, load_backbone, tokenizer_for
from tdbench.bench.training.prepared import Prepared
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.stacked import train_stack
from tdbench.bench.training.training_set import TrainContext, TrainingSet

LENGTH, PER_CLASS, MINILM = 64, 10, "all-MiniLM-L6-v2"


def build(model: str, n_classes: int, seed: int, dropout: float = 0.1) -> torch.nn.Module:
    """Makes one member."""
    torch.manual_seed(seed)
    if model == "minilm":
        made: torch.nn.Module = MeanPooledClassifier(load_backbone(MINILM), n_classes, dropout)
    else:
        made = NativeClassifier(BertForSequenceClassification(BertConfig.from_dict({"num_labels": n_classes})))
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = dropout
    return made


def sets(n_members: int) -> tuple[list[Encoded], list[TrainingSet]]:
    """Draws and tokenises a random set for every member."""
    train = agnews().train
    encoded, data = [], []
    for seed in range(n_members):
        text = random_texts(train, PER_CLASS, seed)
        encoded.append(tokenizer_for(MINILM)(text.fields, LENGTH))
        data.append(TrainingSet.of(DistilledSet.from_rows(text, np.arange(len(text))), text))
    return encoded, data


def contexts(n_members: int, device: str) -> list[TrainContext]:
    """Returns contexts that share a cost meter."""
    cost = CostMeter(device)
    return [TrainContext(seed, device, cost) for seed in range(n_members)]


def timed(device: str, work: Any) -> float:
    """Runs something to its end and returns the seconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def stack_s(given: argparse.Namespace, encoded: list[Encoded], data: list[TrainingSet]) -> float:
    """Times the stack, building its members included."""
    where = contexts(given.members, given.device)

    def work() -> None:
        members = [
            Prepared(build(given.model, data[0].targets_MC.shape[1], seed), given.device, packed=False)
            for seed in range(given.members)
        ]
        with where[0].cost.phase("train"):
            train_stack(members, encoded, data, recipe(given.steps), where)

    return timed(given.device, work)


def engine_s(given: argparse.Namespace, encoded: Encoded, data: TrainingSet, seed: int) -> float:
    """Times one member trained alone by the engine."""
    context = contexts(seed + 1, given.device)[seed]

    def work() -> None:
        ready = Prepared(build(given.model, data.targets_MC.shape[1], seed), given.device)
        with context.cost.phase("train"):
            engine.train(ready, encoded, data, recipe(given.steps), context)

    return timed(given.device, work)


def trainer_s(given: argparse.Namespace, encoded: Encoded, data: TrainingSet, seed: int) -> float:
    """Times one member trained by the Trainer."""
    inner = build(given.model, data.targets_MC.shape[1], seed)
    labels = data.targets_MC.argmax(1)

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, labels: torch.Tensor, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
            logits_BC = self.inner(**batch)
            return {"loss": torch.nn.functional.cross_entropy(logits_BC, labels), "logits": logits_BC}

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        return {**encoded.collate(np.array(rows), "cpu"), "labels": torch.from_numpy(labels[rows])}

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=given.steps,
        per_device_train_batch_size=len(labels),
        learning_rate=1e-4,
        weight_decay=0.01,
        lr_scheduler_type="cosine",
        warmup_steps=given.steps // 2,
        bf16=True,
        optim="adamw_torch_fused",
        use_cpu=given.device == "cpu",
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    rows: Any = list(range(len(labels)))
    trainer = Trainer(model=Classifier(), args=arguments, train_dataset=rows, data_collator=collate)
    return timed(given.device, trainer.train)


def recipe(steps: int) -> Recipe:
    """Returns the recipe all contenders follow."""
    return Recipe(LENGTH, steps, 64, 1e-4, 0.01, 1.0, 0.5)


def largest_difference(given: argparse.Namespace, encoded: list[Encoded], data: list[TrainingSet]) -> float:
    """Returns the largest difference of final logits between three members alone and in a stack."""
    where, n_classes = contexts(3, given.device), data[0].targets_MC.shape[1]
    alone, together = (
        [
            Prepared(build(given.model, n_classes, seed, 0.0), given.device, torch.float32, packed=False)
            for seed in range(3)
        ]
        for _ in range(2)
    )
    with where[0].cost.phase("train"):
        for member, texts, target, context in zip(alone, encoded, data, where, strict=False):
            engine.train(member, texts, target, recipe(5), context)
        train_stack(together, encoded[:3], data[:3], recipe(5), where)
        logits = [[engine.predict(m, encoded[0], where[0].cost) for m in members] for members in (alone, together)]
    return max(float((a - b).abs().max()) for a, b in zip(*logits, strict=True))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--model", choices=("minilm", "bert-base"), default="minilm")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--alone", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    encoded, data = sets(max(3, given.members))
    difference = largest_difference(given, encoded, data)
    stack = stack_s(given, encoded[: given.members], data[: given.members])
    single, peer = (
        [measure(given, encoded[0], data[0], seed) for seed in range(given.alone + 1)][1:]
        for measure in (engine_s, trainer_s)
    )
    made = {
        "device": torch.cuda.get_device_name() if given.device != "cpu" else "cpu",
        "model": given.model,
        "members": given.members,
        "steps": given.steps,
        "stack_s": stack,
        "engine_alone_s": given.members * sum(single) / len(single),
        "trainer_s": given.members * sum(peer) / len(peer),
        "largest_difference": difference,
    }
    made |= {"ratio_trainer": made["trainer_s"] / stack, "ratio_alone": made["engine_alone_s"] / stack}
    print(json.dumps(made, indent=None if given.json else 1))


if __name__ == "__main__":
    main()
