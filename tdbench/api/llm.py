"""Toolkit of methods that ask a language model."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.models.llm.client import Sampling
from tdbench.bench.models.llm.generate import LLMVariations
from tdbench.bench.models.llm.method import LLMConfig, LLMMethod, NamesModels, RequestCounts, Session, llm_card
from tdbench.bench.models.llm.parsing import read_object
from tdbench.bench.models.llm.prompts import (
    PromptSpec,
    keywords,
    request_for_concepts,
    request_for_features,
    request_for_refinement,
    request_for_texts,
    request_for_values,
)
