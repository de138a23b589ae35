"""What all diffusion models of text share: tokens, public training, training on private rows, texts.

Shapes: B rows, K noised versions, L target tokens, P source tokens, U tokens of text, E latent width, C classes.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from tdbench.api.privacy import Mechanism
from tdbench.api.training import Batch, RowModel, TrainingOptions, content_id, kept, train_rows
from tdbench.methods.dp_diffusion.network import Denoiser, DenoiserShape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tdbench.api import LabelledText
    from tdbench.api.matching import SourceModel
    from tdbench.api.privacy import PublicRows
    from tdbench.api.training import CostMeter
    from tdbench.methods.dp_diffusion.alphabet import Alphabet

    Parts = tuple[NDArray[np.int64], ...]

DIFFUSION_VERSION = 2
"""Raised whenever the same public texts and options give another public model."""
_SAMPLE_BATCH = 256
Space = Literal["classes", "norms", "all"]


@dataclass(frozen=True)
class PublicTraining:
    """How the public model is trained, on texts without classes.

    Args:
        steps: Steps.
        batch: Expected texts of a step.
        lr: Learning rate.
        seed: Seed of samples, times and noise.
    """

    steps: int
    batch: int
    lr: float
    seed: int = 0


class Diffusion(RowModel):
    """A denoiser and its tokens.

    Args:
        alphabet: Tokens.
        source: Spells rows.
        shape: Size of the denoiser.
        n_classes: C.
        draws: Noised versions K of every row in a step, their times spread evenly; a row's loss is the mean over them, so they cost no
            privacy (noise multiplicity; De et al., 2022).
    """

    name: str

    def __init__(
        self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int, draws: int
    ) -> None:
        self.alphabet, self._source, self.draws = alphabet, source, draws
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.denoiser = self.module = Denoiser(shape, n_classes)
        # Kept with the weights: another machine's axes may point elsewhere.
        self.denoiser.register_buffer("vectors_UE", alphabet.vectors_UE)
        self.is_public = False
        """Whether the rows are public and what is learnt of them is no class."""

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.denoiser.parameters()).device

    @property
    def vectors_UE(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """The fixed vectors of tokens, on the denoiser's device."""
        return self.denoiser.vectors_UE  # type: ignore[return-value] - a buffer

    def trains(self, space: Space) -> None:
        """Chooses what is trained: what is learnt of classes by heart; layer norms too; or everything."""
        self.denoiser.requires_grad_(space == "all")
        for weight in self.denoiser.class_weights() + (self.denoiser.norm_weights() if space == "norms" else []):
            weight.requires_grad_(True)

    def encode(self, rows: LabelledText) -> Batch:
        """Returns `ids` (N, L) and `labels` (N,)."""
        from tdbench.api.matching import words_of

        return {"ids": self.alphabet.encode(words_of(self._source, rows)), "labels": torch.tensor(rows.labels_N)}

    def source_of(self, batch: Batch) -> torch.Tensor:
        """Returns the (B, P, E) source vectors: the classes' prompts."""
        return self.vectors_UE[self.alphabet.prompts_CP.to(self.device)[batch["labels"]]]

    def times(self, n_rows: int, generator: torch.Generator) -> torch.Tensor:
        """Draws (B, K) times from 0 to 1; those of one row lie in K even strata, and rows know nothing of each other."""
        shifts_B1 = torch.rand(n_rows, self.draws, generator=generator)
        return (torch.arange(self.draws) + shifts_B1) / self.draws

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draws times and noise."""
        return self._drawn({**batch, "time": self.times(len(batch["ids"]), generator)}, generator)

    @abstractmethod
    def _drawn(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draws the noise."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Returns what decides the public model besides size, texts and public training, as plain JSON."""

    @abstractmethod
    def write(self, labels_B: torch.Tensor, n_fields: int, steps: int, generator: torch.Generator) -> torch.Tensor:
        """Returns (B, L) ids of new texts of given classes, in about so many steps."""

    def pretrain(self, rows: LabelledText, options: PublicTraining, tick: Callable[[float], None]) -> None:
        """Trains all but what is learnt of classes on public texts."""
        self.denoiser.requires_grad_(True)
        for weight in self.denoiser.class_weights():
            weight.requires_grad_(False)
        rate = min(1.0, options.batch / len(rows))
        mechanism = Mechanism("gaussian" if rate == 1 else "sampled-gaussian", 0.0, rate, options.steps)
        how = TrainingOptions(lr=options.lr, warmup=max(1, options.steps // 10), decay=True)
        pupil = self.in_public()
        train_rows(pupil, rows, how, mechanism=mechanism, noise=np.random.default_rng(options.seed), tick=tick)

    def in_public(self) -> Self:
        """Returns the model, with the same weights, as public training sees it: one version of a text, because more texts do more."""
        other = copy.copy(self)
        other.draws, other.is_public = 1, True
        return other

    def state(self) -> dict[str, torch.Tensor]:
        """Returns what public training has changed."""
        return dict(self.denoiser.state_dict())

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        """Takes up what public training had changed."""
        self.denoiser.load_state_dict(state)

    @torch.no_grad()
    def sample(self, labels_N: NDArray[np.int64], n_fields: int, steps: int, seed: int) -> list[Parts]:
        """Writes one text for each label.

        Args:
            labels_N: Classes.
            n_fields: 1, or 2 for pairs.
            steps: Steps of denoising.
            seed: Seed.
        """
        generator = torch.Generator().manual_seed(seed % 2**63)
        made: list[Parts] = []
        for start in range(0, len(labels_N), _SAMPLE_BATCH):
            labels_B = torch.from_numpy(labels_N[start : start + _SAMPLE_BATCH]).to(self.device)
            for row in self.write(labels_B, n_fields, steps, generator).tolist():
                made.append(self.alphabet.parts(row, n_fields))
        return made


def trained_publicly(
    model: Diffusion,
    public: PublicRows,
    options: PublicTraining,
    *,
    cache: Path,
    cost: CostMeter,
    tick: Callable[[float], None],
) -> Diffusion:
    """Trains a model on public texts, once for the same texts, size and options; a hit charges the cold cost.

    Args:
        model: Untrained; trained in place and returned.
        public: Public texts.
        options: Public training.
        cache: Folder that concurrent runs share.
        cost: Cost meter.
        tick: Receives the finished fraction.
    """
    from safetensors.torch import load_file, save_file

    facts = {
        "model": model.name,
        "facts": model.facts(),
        "shape": asdict(model.denoiser.shape),
        "training": asdict(options),
        "texts": public.fingerprint,
        "prompts": model.alphabet.prompts_CP.tolist(),
        "pieces": model.alphabet.vocabulary.pieces_U.tolist(),
        "device": str(model.device),
        "version": DIFFUSION_VERSION,
    }
    folder = cache / "diffusion" / content_id(facts)

    def make() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        model.pretrain(public.rows, options, tick)
        return {name: one.detach().cpu().contiguous() for name, one in model.state().items()}, {}

    state, _ = kept(
        folder / "model.safetensors",
        folder / "entry.json",
        cost,
        "public training",
        make=make,
        save=lambda made, path: save_file(made, str(path)),
        load=lambda path, _: load_file(path),
    )
    model.set_state(state)
    return model
