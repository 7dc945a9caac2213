"""Settings that the application's presets add for a built-in task source.

Pictures of 84×84 pixels need other budgets than drawings of 28×28.
"""

from typing import Any

Preset = dict[str, dict[str, Any]]

PHOTOGRAPHS: Preset = {
    "space": {"pool": 5},
    "learner": {"inner_lr": 0.01, "gradient_clamp": 10.0, "msl_epochs": 15},
    "meta_train": {"tasks": 2, "n_query": 15},
    "retrain": {"tasks": 2, "n_query": 15},
}
"""MAML++'s settings for Mini-ImageNet that differ from those for Omniglot, and 5×5 pooling."""
MINI_IMAGENET: dict[str, Preset] = {
    "quick": {
        "space": {"pool": 3},
        "learner": {"meta_lr": 2e-3, "inner_steps": 3},
        "strategy": {"population": 20, "iterations": 8},
        "meta_train": {"iterations": 12, "tasks": 8},
        # After a thousand tasks, a super-net's query loss ranks networks first that hardly adapt.
        "search": {"tasks": 8, "final_tasks": 30, "fitness": "support"},
        # Half of the time for one network: it takes some 6,000 tasks to reach 30 %, better in many small steps, and a
        # super-net of as few tasks as fit in is no head start. Finalists that race would double this half.
        "retrain": {
            "epochs": 10,
            "iterations": 380,
            "tasks": 2,
            "start": "scratch",
            "rate_factor": 1.0,
            "reference": "none",
            "finalists": 1,
        },
    },
    "paper": PHOTOGRAPHS,
}
FC100 = {"paper": PHOTOGRAPHS}
# At 84 pixels a user's own pictures would take four times as long as at 32.
FOLDER: dict[str, Preset] = {"quick": {"tasks": {"side": 32}}}
