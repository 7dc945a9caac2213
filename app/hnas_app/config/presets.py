"""Presets: budgets by name, as plain tables over the schema.

The table of a kind of plugin holds options that apply if the chosen plugin has them; others are passed over, so that a
preset works with any third-party plugin. Values for one plugin only belong to that plugin: `hnas.Plugin.presets`.
"""

from __future__ import annotations

from typing import Any

# The super-net recipe of docs/supernet.md, which `quick` and `small` share.
_LEARNER = {"meta_lr": 4e-3, "multi_step_loss": False, "rate_scaling": "linear"}
_META_TRAIN = {"tasks": 16, "n_query": 5, "sampling": "attentive", "architectures": 2, "validate_every": 10}
_RETRAIN = {"tasks": 16, "n_query": 5, "start": "supernet"}

PRESETS: dict[str, dict[str, Any]] = {
    # The schema's and the plugins' own defaults.
    "none": {},
    # Minutes on two cores: everything small. The super-net sees first-order gradients only, a network alone in a
    # quarter of its re-training: 600 iterations are then as good as 800 with a half, and take 11 % less time. There
    # is no multi-step loss, which with 5 query images makes an iteration three times as long. Networks are re-trained
    # from the super-net's weights. Alone, they bear higher rates than the super-net does, and need them in so short a
    # time.
    "quick": {
        "space": {"base_width": 24, "norms": "activation"},
        "learner": {**_LEARNER, "first_order_epochs": 10},
        "strategy": {"population": 40, "iterations": 20},
        "meta_train": {**_META_TRAIN, "epochs": 10, "iterations": 90},
        "search": {
            "tasks": 16,
            "pool": 200,
            "n_query": 5,
            "candidates": "all",
            "start": "scaled",
            "finalists": 40,
        },
        "retrain": {
            **_RETRAIN,
            "epochs": 40,
            "iterations": 15,
            "validate_every": 10,
            "rate_factor": 3.0,
            "finalists": 7,
        },
    },
    # About an hour on two cores, with the clamp that helped a super-net in 1,500 iterations and in 45,000, but not in
    # the 900 of `quick`.
    "small": {
        "space": {"base_width": 32, "norms": "activation"},
        "learner": {**_LEARNER, "first_order_epochs": 30, "gradient_clamp": 0.1},
        "strategy": {"population": 50, "iterations": 50},
        "meta_train": {**_META_TRAIN, "epochs": 30, "iterations": 300},
        "search": {"pool": 400, "n_query": 5, "candidates": "all", "start": "scaled", "finalists": 40},
        "retrain": {**_RETRAIN, "epochs": 60, "iterations": 40, "rate_factor": 2.0, "finalists": 3},
    },
    # The paper's budget: 100 epochs of 500 iterations, a pool of 100, 200 iterations of the search.
    "paper": {
        "space": {"base_width": 64},
        "strategy": {"population": 100, "iterations": 200},
        "meta_train": {"epochs": 100, "iterations": 500, "tasks": 8, "n_query": 1, "shrink_start": 30},
        "search": {"tasks": 16, "pool": 600, "n_query": 15},
        "retrain": {"epochs": 100, "iterations": 500, "tasks": 8, "n_query": 1},
        "evaluate": {"tasks": 600},
    },
}
