"""Options with which slow methods take seconds: for tests of the contract, not of how well they do."""

from __future__ import annotations

from typing import Any

from tdbench.bench.registry import METHODS
from tdbench.methods.dp_diffusion.method import DiffusionMethod

DIFFUSION = {
    "public_epochs": 1.0,
    "epochs": 2.0,
    "layers": 1,
    "width": 16,
    "heads": 2,
    "latent": 16,
    "length": 16,
    "denoising": 8,
}
FEW: dict[str, dict[str, Any]] = {
    "dilm": {"loops": 2, "stops": 2, "batches": 2, "refresh": 2, "teachers": 2, "pool": 8},
    "dm": {"pool": 4, "replace": 3},
    "dp_lm": {"epochs": 1.0, "pool": 4},
    "dp_lm_lora": {"most_steps": 3, "lr": 0.1, "length": 16, "pool": 2},
    "gradmm": {"outer": 2, "inner": 3, "pool": 4},
    "lm-samples": {"pool": 8},
    "synalign": {"over": 2, "least": 8},
    "synthllm": {"documents": 8},
    "meta": {"head_updates": 20, "updates": 6},
    "trajectory": {"experts": 2, "updates": 30},
}


def small(name: str, **options: Any) -> Any:
    """Returns a method of the suite with small options.

    Args:
        name: The method's name.
        **options: What else to set.
    """
    plugin = METHODS.get(name)
    few = DIFFUSION if issubclass(plugin, DiffusionMethod) else FEW.get(name, {})
    return plugin(plugin.Config(**{**few, **options}))
