"""Distilled sets, their files, and their form in packs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tdbench.bench.budget import Budget, count_tokens
from tdbench.bench.canonical import sha256_file
from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.errors import BudgetError, PluginError, RecordError
from tdbench.bench.record import Output, Track, pack_ints, unpack_ints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

TABLE_FILE, TENSOR_FILE, CARD_FILE = "distilled.parquet", "distilled.safetensors", "card.yaml"
SOFT_LABEL_TOLERANCE = 1e-3
_PACKED = {"labels", "row_ids", "fields", "soft_labels", "weights"}


@dataclass(frozen=True, eq=False)
class SoftInputs:
    """M texts whose words are vectors of one learner's token table; the learner's own special tokens are put around them.

    Args:
        vectors_SD: All vectors, text after text, field after field, float32.
        lengths_MF: Vectors of every text and field, int64; each text has at least one.
        learner: Name of the learner whose table they are meant for.
    """

    vectors_SD: NDArray[np.float32]
    lengths_MF: NDArray[np.int64]
    learner: str

    def __len__(self) -> int:
        return len(self.lengths_MF)

    @property
    def rows(self) -> list[tuple[NDArray[np.int64], ...]]:
        """For every text and field, the positions of its vectors."""
        ends = np.cumsum(self.lengths_MF.reshape(-1))
        parts = np.split(np.arange(len(self.vectors_SD)), ends[:-1])
        n_fields = self.lengths_MF.shape[1]
        return [tuple(parts[i * n_fields : (i + 1) * n_fields]) for i in range(len(self))]

    def check(self, n_fields: int) -> None:
        """Checks shapes and numbers.

        Raises:
            PluginError: Says what is wrong.
        """
        lengths = self.lengths_MF
        if lengths.ndim != 2 or lengths.dtype.kind not in "iu" or lengths.shape[1] != n_fields:
            raise PluginError(f"soft inputs need (M, {n_fields}) integer lengths; got shape {lengths.shape}.")
        if not len(lengths) or lengths.min() < 0 or lengths.sum(axis=1).min() < 1:
            raise PluginError("a text of the soft inputs has no vector; expected at least one in every text.")
        if self.vectors_SD.ndim != 2 or self.vectors_SD.dtype != np.float32 or not np.isfinite(self.vectors_SD).all():
            raise PluginError("the vectors of soft inputs must be a 2-D float32 array of finite numbers.")
        if len(self.vectors_SD) != lengths.sum():
            raise PluginError(f"the lengths add up to {lengths.sum()} vectors; got {len(self.vectors_SD)}.")


@dataclass(frozen=True, eq=False)
class Schedule:
    """Training that was learned with a set of token vectors: T steps of plain SGD, run by the harness in place of the recipe.

    Weights are the learner's own at the start, float32, without dropout, weight decay or clipping; the token table stays as it is. Every
    seed draws a new head, unless the set brings one. Targets are the set's soft labels, which may then be any numbers.

    Args:
        rates_T2: Step sizes of the weights below the head, and of the head's, float32.
        parts: Parts that every class's texts are dealt to in turn; step t trains on all texts of part t mod `parts`.
        attention_XH: Attention that is wanted of every text, for the H heads of all layers, float32: for each of its L tokens, special
            tokens included, what the first token pays it; or L x L rows, token by token. None for no wish.
        head_CX: A head to start from, weights and in the last column offsets, float32; None for a new one with every seed.
        lora: Seed of rank-8 adapters on the query and value maps, which are trained in the place of all weights below the head; or None.
    """

    rates_T2: NDArray[np.float32]
    parts: int = 1
    attention_XH: NDArray[np.float32] | None = None
    head_CX: NDArray[np.float32] | None = None
    lora: int | None = None

    @property
    def head_only(self) -> bool:
        """Whether all weights below the head stay as they are."""
        return self.lora is None and not self.rates_T2[:, 0].any()

    def rows_of(self, labels_M: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Returns the texts of every step."""
        place_M = np.zeros(len(labels_M), dtype=np.int64)
        for label in np.unique(labels_M):
            own = np.flatnonzero(labels_M == label)
            place_M[own] = np.arange(len(own)) % self.parts
        return [np.flatnonzero(place_M == step % self.parts) for step in range(len(self.rates_T2))]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns everything by name, as files hold it."""
        made = {
            "rates": self.rates_T2,
            "parts": np.array([self.parts]),
            "attention": self.attention_XH,
            "head": self.head_CX,
            "lora": None if self.lora is None else np.array([self.lora]),
        }
        return {name: array for name, array in made.items() if array is not None}

    @classmethod
    def of_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Schedule | None:
        """Undoes `tensors`; None where there are none."""
        if "rates" not in tensors:
            return None
        lora = int(tensors["lora"][0]) if "lora" in tensors else None
        return cls(tensors["rates"], int(tensors["parts"][0]), tensors.get("attention"), tensors.get("head"), lora)

    def check(self, labels_M: NDArray[np.int64], n_classes: int) -> None:
        """Checks shapes and numbers.

        Raises:
            PluginError: Says what is wrong.
        """
        shapes = {
            "rates_T2": (self.rates_T2, 2, 2),
            "attention_XH": (self.attention_XH, 2, None),
            "head_CX": (self.head_CX, 2, None),
        }
        for name, (array, dimensions, width) in shapes.items():
            if array is None:
                continue
            fits = array.ndim == dimensions and array.dtype == np.float32 and (width is None or array.shape[1] == width)
            if not fits or not len(array) or not np.isfinite(array).all():
                raise PluginError(
                    f"a schedule's {name} must be 2-D finite float32; got shape {array.shape} of {array.dtype}."
                )
        if self.rates_T2.min() < 0:
            raise PluginError(f"a schedule's step sizes must not be negative; got {self.rates_T2.min():.3g}.")
        if self.attention_XH is not None and self.attention_XH.min() < 0:
            raise PluginError("a schedule's attention must not be negative; expected shares.")
        if self.head_CX is not None and len(self.head_CX) != n_classes:
            raise PluginError(f"a schedule's head has {len(self.head_CX)} classes; expected {n_classes}.")
        rows_of = self.rows_of(labels_M) if self.parts > 0 else []
        if not rows_of or any(not len(rows) for rows in rows_of):
            raise PluginError(f"a schedule with {self.parts} parts leaves a step without texts; use fewer parts.")
        if len(np.unique(np.concatenate(rows_of))) < len(labels_M):
            raise PluginError(
                f"a schedule of {len(rows_of)} steps with {self.parts} parts never trains on some texts; use fewer parts."
            )


@dataclass(frozen=True, eq=False)
class DistilledSet(ABC):
    """M distilled examples: a `RowSelection`, a `TextSet` or a `VectorSet`.

    Args:
        labels_M: Class ids, int64.
        soft_labels_MC: Class probabilities, or None for hard labels.
        weights_M: Positive loss weights, or None for equal weights.
    """

    output: ClassVar[Output]
    labels_M: NDArray[np.int64]
    soft_labels_MC: NDArray[np.float32] | None = field(default=None, kw_only=True)
    weights_M: NDArray[np.float32] | None = field(default=None, kw_only=True)

    # What one kind of set holds and the others do not.
    row_ids_M: ClassVar[NDArray[np.int64] | None] = None
    fields: ClassVar[dict[str, list[str]] | None] = None
    soft: ClassVar[SoftInputs | None] = None
    schedule: ClassVar[Schedule | None] = None

    @staticmethod
    def from_rows(real: LabelledText, positions: ArrayLike) -> RowSelection:
        """Selects rows of the train split by their positions in `real`."""
        index = np.asarray(positions, dtype=np.int64)
        return RowSelection(real.labels_N[index], real.row_ids_N[index])

    @staticmethod
    def from_texts(fields: dict[str, list[str]], labels: ArrayLike, **extras: Any) -> TextSet:
        """Holds new texts; `extras` are `soft_labels_MC` and `weights_M`."""
        return TextSet(np.asarray(labels, dtype=np.int64), fields, **extras)

    @staticmethod
    def from_vectors(soft: SoftInputs, labels: ArrayLike, **extras: Any) -> VectorSet:
        """Holds token vectors; `extras` are `soft_labels_MC`, `weights_M` and `schedule`."""
        return VectorSet(np.asarray(labels, dtype=np.int64), soft, **extras)

    def __len__(self) -> int:
        return len(self.labels_M)

    @property
    def track(self) -> Track:
        """The track in which the set competes."""
        return "text" if self.soft_labels_MC is None and self.weights_M is None else "text+soft"

    @abstractmethod
    def resolve(self, real: LabelledText) -> LabelledText:
        """Returns the set as labelled text; row ids are looked up in the train split, and token vectors are no text: empty strings."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """Returns the columns of the set's table besides the label."""

    @abstractmethod
    def check_content(self, real: LabelledText) -> None:
        """Checks what this kind of set alone holds.

        Raises:
            PluginError: It is malformed.
        """

    def check(self, budget: Budget, real: LabelledText) -> None:
        """Checks form and budget, trusting nothing that a plug-in says.

        Raises:
            PluginError: The set is malformed.
            BudgetError: A class holds more than the budget allows.
        """
        self._check_form(real.n_classes)
        self.check_content(real)
        self.check_size(budget, self.token_counts(real), real.label_names)

    def token_counts(self, real: LabelledText) -> list[int]:
        """Counts every example's tokens; a token vector counts as one."""
        return [count_tokens(text) for text in self.resolve(real).joined()]

    def check_size(self, budget: Budget, n_tokens_M: list[int], label_names: tuple[str, ...]) -> None:
        """Counts the set's examples and tokens against a budget.

        Raises:
            BudgetError: A class holds more than the budget allows.
        """
        for label, name in enumerate(label_names):
            members = np.flatnonzero(self.labels_M == label)
            if budget.per_class is not None and len(members) > budget.per_class:
                raise BudgetError(
                    f"class '{name}' holds {len(members)} texts; budget {budget.name} allows {budget.per_class}."
                )
            if budget.tokens_per_class is not None:
                used = sum(n_tokens_M[i] for i in members)
                if used > budget.tokens_per_class:
                    raise BudgetError(
                        f"class '{name}' holds {used} tokens; budget {budget.name} allows {budget.tokens_per_class}."
                    )

    def n_bytes(self, real: LabelledText) -> int:
        """Counts the bytes of the texts (UTF-8), one byte a label, and the tensors."""
        text = sum(len(item.encode("utf-8", "replace")) for item in self.resolve(real).joined())
        return text + len(self) + sum(tensor.nbytes for tensor in self.tensors().values())

    def n_exact(self, real: LabelledText, other: LabelledText) -> int:
        """Counts texts that equal a text of `other` after folding case and white space; token vectors equal none."""
        known = {normalised(text) for text in other.joined()}
        return sum(normalised(text) in known for text in self.resolve(real).joined())

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns soft labels, weights, token vectors and learned steps by name, as far as the set has them."""
        tensors = {"soft_labels": self.soft_labels_MC, "weights": self.weights_M}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def save(self, folder: Path, card: dict[str, Any]) -> dict[str, str]:
        """Writes the parquet table, the tensors and the card.

        Args:
            folder: Existing folder.
            card: What to say about the set (task, method, budget); hashes are added.

        Returns:
            File name -> sha256.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq
        import yaml

        pq.write_table(pa.table({**self.columns(), "label": self.labels_M}), folder / TABLE_FILE)
        files = [TABLE_FILE]
        if tensors := self.tensors():
            from safetensors.numpy import save_file

            save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / TENSOR_FILE)
            files.append(TENSOR_FILE)
        hashes = {name: sha256_file(folder / name) for name in files}
        card_text = yaml.safe_dump({**card, "files": hashes}, sort_keys=True, allow_unicode=True)
        (folder / CARD_FILE).write_text(card_text, encoding="utf-8")
        return {**hashes, CARD_FILE: sha256_file(folder / CARD_FILE)}

    @staticmethod
    def load(folder: Path, hashes: dict[str, str]) -> DistilledSet:
        """Reads a set and checks the sha256 of its files.

        Raises:
            RecordError: A file is missing or differs from its hash.
        """
        import pyarrow.parquet as pq

        check_files(folder, hashes)
        table = pq.read_table(folder / TABLE_FILE)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        labels_M = np.array(columns.pop("label"), dtype=np.int64)
        tensors: dict[str, Any] = {}
        if TENSOR_FILE in hashes:
            from safetensors.numpy import load_file

            tensors = load_file(folder / TENSOR_FILE)
        extras = {"soft_labels_MC": tensors.get("soft_labels"), "weights_M": tensors.get("weights")}
        if "vectors" in tensors:
            soft = SoftInputs(tensors["vectors"], tensors["lengths"], str(columns["learner"][0]))
            return VectorSet(labels_M, soft, schedule=Schedule.of_tensors(tensors), **extras)
        if "row_id" in columns:
            return RowSelection(labels_M, np.array(columns["row_id"], dtype=np.int64), **extras)
        return TextSet(labels_M, columns, **extras)

    def to_json(self) -> dict[str, Any]:
        """Returns the set as packs hold it; token vectors are too large for one."""
        packed: dict[str, Any] = {"labels": pack_ints(tuple(self.labels_M.tolist()))}
        if self.row_ids_M is not None:
            packed["row_ids"] = self.row_ids_M.tolist()
        else:
            packed["fields"] = self.fields
        if self.soft_labels_MC is not None:
            packed["soft_labels"] = [[_exactly(share) for share in row] for row in self.soft_labels_MC]
        if self.weights_M is not None:
            packed["weights"] = [_exactly(weight) for weight in self.weights_M]
        return packed

    @staticmethod
    def from_json(packed: dict[str, Any], most_rows: int = 1_000_000) -> DistilledSet:
        """Undoes `to_json`, trusting nothing.

        Raises:
            RecordError: A part is of the wrong kind or size, or there are more than `most_rows` rows.
        """
        if extra := set(packed) - _PACKED:
            raise RecordError(f"the set has the unknown part {sorted(extra)[0][:40]!r}.")
        labels = unpack_ints(packed["labels"], most_rows)
        fields, rows = packed.get("fields"), packed.get("row_ids")
        if (fields is None) == (rows is None):
            raise RecordError("a set in a pack holds either row ids or texts; expected one of them.")
        extras: dict[str, Any] = {}
        for part, name in (("soft_labels", "soft_labels_MC"), ("weights", "weights_M"), ("row_ids", "")):
            column = packed.get(part)
            if column is not None and (not isinstance(column, list) or len(column) != len(labels)):
                raise RecordError(f"{part} is no list of {len(labels)} entries, one for each label.")
            if column is not None and name:
                extras[name] = np.array(column, dtype=np.float32)
        labels_M = np.array(labels, dtype=np.int64)
        if rows is not None:
            if not all(type(row) is int and 0 <= row < 1 << 40 for row in rows):
                raise RecordError("row ids are whole numbers from 0.")
            return RowSelection(labels_M, np.array(rows, dtype=np.int64), **extras)
        assert fields is not None
        for name, column in fields.items():
            if not _is_column(column, len(labels)):
                raise RecordError(f"field {str(name)[:40]!r} is no list of {len(labels)} texts in valid Unicode.")
        return TextSet(labels_M, fields, **extras)

    def _check_form(self, n_classes: int) -> None:
        _check_array("labels_M", self.labels_M, "iu", 1)
        if not len(self):
            raise PluginError("the distilled set is empty; expected at least one text.")
        for name, array, kinds, dimensions in (
            ("row_ids_M", self.row_ids_M, "iu", 1),
            ("soft_labels_MC", self.soft_labels_MC, "f", 2),
            ("weights_M", self.weights_M, "f", 1),
        ):
            if array is not None:
                _check_array(name, array, kinds, dimensions)
                if len(array) != len(self):
                    raise PluginError(f"{name} has {len(array)} entries for {len(self)} labels; expected one for each.")
        low, high = self.labels_M.min(), self.labels_M.max()
        if low < 0 or high >= n_classes:
            raise PluginError(f"labels lie in {low}..{high}; expected 0..{n_classes - 1}.")
        self._check_soft_labels(n_classes)
        if self.weights_M is not None and (not np.isfinite(self.weights_M).all() or self.weights_M.min() <= 0):
            raise PluginError("weights must be positive finite numbers.")

    def _check_soft_labels(self, n_classes: int) -> None:
        soft = self.soft_labels_MC
        if soft is None:
            return
        wrong = soft.shape[1] != n_classes or not np.isfinite(soft).all()
        if self.schedule is None:
            wrong = wrong or soft.min() < 0 or np.abs(soft.sum(axis=1) - 1).max() > SOFT_LABEL_TOLERANCE
        if wrong:
            what = "probabilities that add up to 1 in every row" if self.schedule is None else "finite numbers"
            raise PluginError(f"soft labels must be {len(self)} x {n_classes} {what}; got shape {soft.shape}.")


@dataclass(frozen=True, eq=False)
class RowSelection(DistilledSet):
    """Selected rows of the train split.

    Args:
        row_ids_M: Their row ids, int64.
    """

    output: ClassVar[Output] = "rows"
    row_ids_M: NDArray[np.int64] = field()  # type: ignore[reportIncompatibleVariableOverride]

    def resolve(self, real: LabelledText) -> LabelledText:
        """Looks the rows up in the train split."""
        rows = real.take(real.positions_of_rows(self.row_ids_M))
        return LabelledText(rows.fields, self.labels_M, real.label_names, self.row_ids_M)

    def columns(self) -> dict[str, Any]:
        """Returns the row ids."""
        return {"row_id": self.row_ids_M}

    def check_content(self, real: LabelledText) -> None:  # noqa: ARG002 - rows are looked up when tokens are counted
        """Checks that no row is selected twice."""
        if len(set(self.row_ids_M.tolist())) != len(self):
            raise PluginError("a row is selected more than once; expected distinct row ids.")


@dataclass(frozen=True, eq=False)
class TextSet(DistilledSet):
    """New texts.

    Args:
        fields: Text field -> M strings.
    """

    output: ClassVar[Output] = "text"
    fields: dict[str, list[str]] = field()  # type: ignore[reportIncompatibleVariableOverride]

    def resolve(self, real: LabelledText) -> LabelledText:
        """Returns the texts."""
        return LabelledText(self.fields, self.labels_M, real.label_names, np.arange(len(self)))

    def columns(self) -> dict[str, Any]:
        """Returns the texts."""
        return dict(self.fields)

    def check_content(self, real: LabelledText) -> None:
        """Checks the names of the fields and the texts."""
        if set(self.fields) != set(real.fields):
            raise PluginError(f"text fields are {sorted(self.fields)}; expected {sorted(real.fields)}.")
        for name, column in self.fields.items():
            if not isinstance(column, list) or len(column) != len(self) or not all(isinstance(t, str) for t in column):
                raise PluginError(f"field '{name}' must be a list of {len(self)} strings, one for each label.")
            if not _is_column(column, len(self)):
                raise PluginError(f"field '{name}' holds text that is not valid Unicode (a lone surrogate); clean it.")


@dataclass(frozen=True, eq=False)
class VectorSet(DistilledSet):
    """Token vectors of one learner.

    Args:
        soft: The vectors.
        schedule: Training that was learned with them; the harness runs it in place of the recipe.
    """

    output: ClassVar[Output] = "embedding"
    soft: SoftInputs = field()  # type: ignore[reportIncompatibleVariableOverride]
    schedule: Schedule | None = field(default=None, kw_only=True)  # type: ignore[reportIncompatibleVariableOverride]

    @property
    def track(self) -> Track:
        """The track in which the set competes."""
        return "learner-bound"

    def resolve(self, real: LabelledText) -> LabelledText:
        """Returns empty strings: token vectors are no text."""
        fields = {name: [""] * len(self) for name in real.fields}
        return LabelledText(fields, self.labels_M, real.label_names, np.arange(len(self)))

    def columns(self) -> dict[str, Any]:
        """Returns the learner that the vectors are meant for."""
        return {"learner": [self.soft.learner] * len(self)}

    def token_counts(self, real: LabelledText) -> list[int]:  # noqa: ARG002 - the vectors are counted
        """Counts every example's vectors."""
        return self.soft.lengths_MF.sum(axis=1).tolist()

    def n_exact(self, real: LabelledText, other: LabelledText) -> int:  # noqa: ARG002 - none is a text
        """Returns 0: token vectors equal no text."""
        return 0

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns soft labels, weights, token vectors and learned steps by name, as far as the set has them."""
        vectors = {"vectors": self.soft.vectors_SD, "lengths": self.soft.lengths_MF}
        return {**super().tensors(), **vectors, **({} if self.schedule is None else self.schedule.tensors())}

    def check_content(self, real: LabelledText) -> None:
        """Checks the vectors and the learned training."""
        self.soft.check(len(real.fields))
        if len(self.soft) != len(self):
            raise PluginError(f"soft inputs hold {len(self.soft)} texts for {len(self)} labels; expected one for each.")
        if self.schedule is not None:
            if self.weights_M is not None:
                raise PluginError("a learned schedule goes without weights.")
            self.schedule.check(self.labels_M, real.n_classes)


def check_files(folder: Path, hashes: dict[str, str]) -> None:
    """Checks that files are there and unchanged.

    Raises:
        RecordError: A file is missing or differs from its sha256.
    """
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != expected:
            raise RecordError(f"{path} is missing or differs from its recorded sha256; run the same command again.")


def _check_array(name: str, array: Any, kinds: str, dimensions: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds or array.ndim != dimensions:
        got = f"{array.ndim}-D {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        what = "integers" if "i" in kinds else "floats"
        raise PluginError(f"{name} must be a {dimensions}-D numpy array of {what}; got {got}.")


def _is_column(column: Any, size: int) -> bool:
    """Tells whether a column is a list of so many texts that UTF-8 can hold."""
    if not isinstance(column, list) or len(column) != size or not all(isinstance(text, str) for text in column):
        return False
    try:
        "".join(column).encode()
    except UnicodeEncodeError:
        return False
    return True


def _exactly(value: Any) -> float:
    """Returns the shortest number that is the same float32."""
    return float(f"{float(value):.9g}")
