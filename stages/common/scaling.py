"""Numbers to predict, brought to mean 0 and deviation 1 for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Scaling:
    """What training subtracts from values and divides them by; 0 and 1 for classes.

    The usual learning rates and initial weights are made for outputs near 1, so prices in the
    thousands would not be learned. After training the scaling goes into the last layer.
    """

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, task: str, targets: np.ndarray, train: np.ndarray) -> Scaling:
        """The scaling of a task by its training images alone.

        Args:
            task: Only `regression` is scaled.
            targets: (n, columns) of all images.
            train: (m,) positions of the training images.
        """
        if task != "regression":
            return cls()
        values = targets[train]
        return cls(float(values.mean()), float(values.std()) or 1.0)

    @property
    def _is_identity(self) -> bool:
        return (self.mean, self.deviation) == (0.0, 1.0)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values as training wants them; float32 where they change."""
        if self._is_identity:
            return values
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def unscaled(self, outputs: np.ndarray) -> np.ndarray:
        """Values in their units again."""
        if self._is_identity:
            return outputs
        return outputs.astype(np.float64) * self.deviation + self.mean

    def fold_into(self, layer: keras.layers.Dense) -> None:
        """Make a trained linear layer answer in the units of the values."""
        if self._is_identity:
            return
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * self.deviation, bias * self.deviation + self.mean])
