"""Presets: budgets by name, as plain tables over the schema.

A plugin's table holds options that apply where the chosen plugin has them; others are passed over, so that a preset
works with any third-party plugin. A table inside a table, named like a plugin of any kind, applies where that one is
chosen: pictures of 84×84 pixels take other budgets than drawings of 28×28.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "learner": {"inner_lr": 0.01, "gradient_clamp": 10.0, "msl_epochs": 15},
    "training": {"tasks": 2, "n_query": 15},
}
"""MAML++'s settings for Mini-ImageNet, where they differ from those for Omniglot."""
PRESETS: dict[str, dict[str, Any]] = {
    # The schema's and the plugins' own defaults.
    "none": {},
    # Minutes on two cores: everything small, with the super-net recipe of docs/supernet.md. The super-net sees
    # first-order gradients only, a network alone in half of its re-training; no multi-step loss, which with 5 query
    # images makes an iteration three times as long. Networks are re-trained from the super-net's weights. Alone, they
    # bear higher rates than the super-net does, and need them in so short a time. At 84 pixels a user's own pictures
    # would take four times as long as at 32.
    "quick": {
        "tasks": {"folder": {"side": 32}},
        "space": {
            "base_width": 24,
            "norms": "activation",
            "resnet12": {"base_width": 8},
            "mini-imagenet": {"pool": 3},
        },
        "learner": {
            "meta_lr": 4e-3,
            "first_order_epochs": 10,
            "multi_step_loss": False,
            "rate_scaling": "linear",
            "mini-imagenet": {"meta_lr": 2e-3, "inner_steps": 3},
        },
        "strategy": {"population": 40, "iterations": 20, "mini-imagenet": {"population": 20, "iterations": 8}},
        "meta_train": {
            "epochs": 10,
            "iterations": 90,
            "tasks": 16,
            "n_query": 5,
            "sampling": "attentive",
            "architectures": 2,
            "validate_every": 10,
            "mini-imagenet": {"iterations": 12, "tasks": 8},
        },
        "search": {
            "tasks": 16,
            "pool": 200,
            "n_query": 5,
            # By the query loss, a super-net that has seen a thousand tasks ranks networks first that hardly adapt.
            "mini-imagenet": {"tasks": 8, "final_tasks": 30, "fitness": "support"},
        },
        "retrain": {
            "epochs": 20,
            "iterations": 40,
            "tasks": 16,
            "n_query": 5,
            "start": "supernet",
            "rate_factor": 3.0,
            # Half of the time for one network: it takes some 6,000 tasks to reach 30 %, better in many small steps, and
            # a super-net of as few tasks as fit in is no head start.
            "mini-imagenet": {
                "epochs": 10,
                "iterations": 380,
                "tasks": 2,
                "start": "scratch",
                "rate_factor": 1.0,
                "reference": "none",
            },
        },
    },
    # About an hour on two cores, with the same recipe, and the clamp that helped a super-net in 1,500 iterations and in
    # 45,000, but not in the 900 of `quick`.
    "small": {
        "space": {"base_width": 32, "norms": "activation", "resnet12": {"base_width": 16}},
        "learner": {
            "meta_lr": 4e-3,
            "first_order_epochs": 30,
            "multi_step_loss": False,
            "rate_scaling": "linear",
            "gradient_clamp": 0.1,
        },
        "strategy": {"population": 50, "iterations": 50},
        "meta_train": {
            "epochs": 30,
            "iterations": 300,
            "tasks": 16,
            "n_query": 5,
            "sampling": "attentive",
            "architectures": 2,
            "validate_every": 10,
        },
        "search": {"pool": 400, "n_query": 5},
        "retrain": {
            "epochs": 60,
            "iterations": 40,
            "tasks": 16,
            "n_query": 5,
            "start": "supernet",
            "rate_factor": 2.0,
        },
    },
    # The paper's budget: 100 epochs of 500 iterations, a pool of 100, 200 iterations of the search; for photographs
    # MAML++'s settings for Mini-ImageNet, and 5×5 pooling.
    "paper": {
        "space": {
            "base_width": 64,
            "resnet12": {"base_width": 32},
            "mini-imagenet": {"pool": 5},
            "fc100": {"pool": 5},
        },
        "learner": {"mini-imagenet": PHOTOGRAPHS["learner"], "fc100": PHOTOGRAPHS["learner"]},
        "strategy": {"population": 100, "iterations": 200},
        "meta_train": {
            "epochs": 100,
            "iterations": 500,
            "tasks": 8,
            "n_query": 1,
            "shrink_start": 30,
            "mini-imagenet": PHOTOGRAPHS["training"],
            "fc100": PHOTOGRAPHS["training"],
        },
        "search": {"tasks": 16, "pool": 600, "n_query": 15},
        "retrain": {
            "epochs": 100,
            "iterations": 500,
            "tasks": 8,
            "n_query": 1,
            "mini-imagenet": PHOTOGRAPHS["training"],
            "fc100": PHOTOGRAPHS["training"],
        },
        "evaluate": {"tasks": 600},
    },
}


def applied(name: str, plugins: Collection[str]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return what a preset says where ``plugins`` are chosen: section ("" for single values) → key → value, origin."""
    found: dict[str, dict[str, tuple[Any, str]]] = {"": {}}
    for section, table in PRESETS[name].items():
        if not isinstance(table, Mapping):
            found[""][section] = (table, f"preset {name}")
            continue
        entries = found[section] = {}
        for key, value in table.items():
            if not isinstance(value, Mapping):
                entries[key] = (value, f"preset {name}")
        for key, special in table.items():
            if isinstance(special, Mapping) and key in plugins:
                entries |= {k: (v, f"preset {name} for {key}") for k, v in special.items()}
    return found
