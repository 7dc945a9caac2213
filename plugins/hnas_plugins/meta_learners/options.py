"""Options of the learners by gradient: the six parts of MAML++, each a switch of its own, and what others add."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from attrs import frozen, validators

from hnas.settings import at_least_0, fraction, one_of, positive, setting

_later = partial(setting, after_training=True)
"""An option of the outer loop alone, of the passes after adaption, or of how things are computed."""


@frozen(kw_only=True)
class MAMLPlusPlusOptions:
    """MAML++ (Antoniou et al., ICLR 2019). The defaults are the paper's settings for Omniglot."""

    REMOVED: ClassVar = {"rates_by_group": (True,)}

    inner_steps: int = setting(5, "gradient steps of the inner loop", positive)
    inner_lr: float = setting(
        0.1, "learning rate of the inner loop, the initial one with learned rates", positive, most=1000
    )
    meta_lr: float = _later(1e-3, "learning rate of the outer loop (Adam)", positive, most=1000)
    meta_lr_end: float = _later(1e-5, "where cosine annealing ends", at_least_0, most=1000)
    gradient_clamp: float = _later(0.0, "clamp each component of the meta-gradient to this; 0: not at all", at_least_0)
    second_order: bool = _later(True, "differentiate through the inner loop's gradients")
    multi_step_loss: bool = _later(True, "MSL: the query loss after every step counts in the first epochs")
    msl_epochs: int = _later(10, "MSL: epochs until only the last step counts", positive)
    derivative_order_annealing: bool = _later(True, "DA: first-order gradients in the first epochs")
    first_order_epochs: int = _later(50, "DA: epochs with first-order gradients", at_least_0)
    per_step_statistics: bool = setting(True, "BNRS: keep running statistics for each inner step")
    per_step_norm: bool = setting(True, "BNWB: batch-normalisation weights and biases for each inner step")
    learned_rates: bool = setting(True, "LSLR: learn the inner learning rate of each layer and step")
    rate_scaling: str = setting(
        "none",
        "scale the inner rates by the fan-in of each sub-network's layers: not, for the classifier, also for "
        "convolutions by its square root, or in proportion",
        one_of("none", "head", "sqrt", "linear"),
    )
    rates_lr_factor: float = _later(
        1.0,
        "outer learning rate of the learned inner rates, as a multiple of meta_lr",
        positive,
        most=1000,
    )
    distillation: float = _later(
        0.0, "share of the query loss that is the cross-entropy with the largest sub-network's answers", fraction
    )
    drop_block: float = _later(
        0.0,
        "DropBlock in training: share of the last blocks' features that is set to 0, in blocks (resnet12)",
        fraction,
        validators.lt(1),
    )
    cosine_annealing: bool = _later(True, "CA: anneal the outer learning rate over the whole training")
    statistics: str = _later(
        "batch",
        "statistics that adapted networks normalise with: of the batch, or (with BNRS) the running ones",
        one_of("batch", "running"),
    )
    batch_below_gflop: float = _later(
        0.3,
        "adapt tasks as one batch if a task's inner loop takes less than this, else one after the other (on a CPU)",
        at_least_0,
    )
    precision: str = _later(
        "float32",
        "arithmetic of convolutions; bfloat16 is an approximation, for GPUs that have it",
        one_of("float32", "bfloat16"),
    )
    cuda_graphs: bool = _later(
        True, "on a GPU, record and replay the work of an architecture that comes several times in a row"
    )


@frozen(kw_only=True)
class MAMLOptions(MAMLPlusPlusOptions):
    """MAML (Finn et al., ICML 2017): the same engine with the six parts off."""

    multi_step_loss: bool = _later(False, "MSL: the query loss after every step counts in the first epochs")
    derivative_order_annealing: bool = _later(False, "DA: first-order gradients in the first epochs")
    per_step_statistics: bool = setting(False, "BNRS: keep running statistics for each inner step")
    per_step_norm: bool = setting(False, "BNWB: batch-normalisation weights and biases for each inner step")
    learned_rates: bool = setting(False, "LSLR: learn the inner learning rate of each layer and step")
    cosine_annealing: bool = _later(False, "CA: anneal the outer learning rate over the whole training")


@frozen(kw_only=True)
class MetaSGDOptions(MAMLOptions):
    """Meta-SGD (Li et al., 2017): a learnt rate for every weight. The parts of MAML++ are off, as in the paper."""

    inner_steps: int = setting(1, "gradient steps of the inner loop", positive)
    inner_lr: float = setting(0.05, "mean of the inner rates that a fresh super-net starts with", positive, most=1000)
    rate_spread: float = setting(
        0.9, "inner rates start uniformly between inner_lr times 1 - this and inner_lr times 1 + this", fraction
    )
    learned_rates: bool = setting(True, "learn the inner rate of every weight; else it stays as it was drawn")
    rates_lr_factor: float = _later(
        10.0,
        "outer learning rate of the learned inner rates, as a multiple of meta_lr (the paper's: 1)",
        positive,
        most=1000,
    )


@frozen(kw_only=True)
class ALFAOptions(MAMLOptions):
    """ALFA (Baik et al., NeurIPS 2020), with L2F if wanted. The parts of MAML++ are off, as in the paper."""

    learned_rates: bool = setting(True, "learn the rates and the decay of each layer and step that ALFA multiplies")
    generated_rates: bool = setting(True, "ALFA: a network generates factors of each step's rates and decay")
    weight_decay: float = setting(
        5e-4, "ALFA: share of inner_lr that a step takes off the weights, the initial one", at_least_0
    )
    l2f: bool = setting(False, "L2F: another network attenuates the weights that a task starts from")
    hidden: int = setting(32, "width of the networks that generate rates and attenuate", positive, most=4096)


@frozen(kw_only=True)
class L2FOptions(ALFAOptions):
    """L2F (Baik et al., CVPR 2020) over MAML: the same learner without ALFA."""

    learned_rates: bool = setting(False, "LSLR: learn the inner learning rate of each layer and step")
    generated_rates: bool = setting(False, "ALFA: a network generates factors of each step's rates and decay")
    l2f: bool = setting(True, "L2F: a network attenuates the weights that a task starts from")


@frozen(kw_only=True)
class ANILOptions(MAMLOptions):
    """ANIL (Raghu et al., ICLR 2020): MAML whose inner loop adapts the classifier only, at a higher rate."""

    inner_lr: float = setting(
        1.0, "learning rate of the inner loop, the initial one with learned rates", positive, most=1000
    )
