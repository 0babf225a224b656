"""The learning rate of every step, worked out before the first."""

import numpy as np

from stages.common.params import Training

_ONE_CYCLE_RISE = 0.3  # of all steps, and
_ONE_CYCLE_START = 1 / 25  # of the highest rate: as in PyTorch and fastai


def learning_rates(training: Training, factor: float, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of each planned step.

    With r the highest rate, T all steps, W those of the warm-up and t the step from 0:

        decay         r / (1 + decay t)
        exponential   r decay_rate^(t / steps_per_epoch)
        cosine        r (f + (1 - f) (1 + cos(pi t / T)) / 2), f the final factor
                      (Loshchilov and Hutter 2017, "SGDR")
        one_cycle     half a cosine from r / 25 up to r, and another down to f r
                      (Smith and Topin 2018, "Super-convergence")

    In a warm-up the rate rises linearly, r (t + 1) / W, and the schedule begins behind it.

    Args:
        training: The params; `epochs` are those of this phase.
        factor: On `optimizer.learning_rate`.
        steps_per_epoch: Batches in an epoch.

    Returns:
        float64 (epochs * steps_per_epoch,).
    """
    highest, schedule = training.optimizer.learning_rate * factor, training.schedule
    total = training.epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if schedule.name == "one_cycle":
        rise = warmup or max(1, round(_ONE_CYCLE_RISE * total))
        up = _half_cosine(_ONE_CYCLE_START, 1, np.arange(rise) / rise)
        down = _half_cosine(1, schedule.final_factor, _places(total - rise))
        return highest * np.concatenate([up, down])[:total]
    rising = (np.arange(warmup) + 1) / max(warmup, 1)
    steps = np.arange(total - warmup)
    if schedule.name == "exponential":
        rest = schedule.decay_rate ** (steps / steps_per_epoch)
    elif schedule.name == "cosine":
        rest = _half_cosine(1, schedule.final_factor, steps / max(len(steps), 1))
    else:
        rest = 1 / (1 + (training.optimizer.decay or 0) * steps)
    return highest * np.concatenate([rising, rest])[:total]


def _half_cosine(start: float, end: float, place: np.ndarray) -> np.ndarray:
    return end + (start - end) * (1 + np.cos(np.pi * place)) / 2


def _places(count: int) -> np.ndarray:
    """From 0 for the first to 1 for the last."""
    return np.arange(count) / max(count - 1, 1)
