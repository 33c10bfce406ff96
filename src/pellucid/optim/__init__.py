"""Optimisers, learning-rate schedules and penalties: how parameters change, as equations."""

from pellucid.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from pellucid.optim.penalties import L1, L2, Penalty
from pellucid.optim.schedules import Constant, Cosine, OneCycle, Schedule, Step, Warmup

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Penalty",
    "RMSprop",
    "Schedule",
    "Step",
    "Warmup",
]
