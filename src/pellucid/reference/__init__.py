"""The literal meaning of equations, in float64: what every other room is judged against."""

from pellucid.reference.evaluate import evaluate
from pellucid.reference.gradient_check import GradientCheck, GradientReport, check_gradient
from pellucid.reference.recurrence import evaluate_parts, evaluate_recurrence

__all__ = ["GradientCheck", "GradientReport", "check_gradient", "evaluate", "evaluate_parts", "evaluate_recurrence"]
