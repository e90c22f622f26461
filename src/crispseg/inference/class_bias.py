"""Classes that are called more or less often than the network does by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.config import MAX_CLASS_BIAS
from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace
from crispseg.ops.arrays import as_like
from crispseg.wording import nearest_name

__all__ = ["class_factors", "favoured"]


def class_factors(class_bias: Mapping[str, float], label_space: LabelSpace) -> npt.NDArray[np.float32]:
    """What the probability of each class is multiplied by.

    Args:
        class_bias: by class name, what is added to the logarithm of its probability.
        label_space: of the predictions, K classes.

    Returns:
        (K,): exp of the bias, 1 for classes without one.

    Raises:
        ConfigError: if there is no such class, or a number is not finite or too large.

    Example:
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["other", "crack"]})
        >>> class_factors({"crack": np.log(4)}, two)  # 0.2 is enough: a threshold t is a bias of ln((1 − t) / t)
        array([1., 4.], dtype=float32)
    """
    names = label_space.class_names
    factors = np.ones(len(names), np.float32)
    for name, bias in class_bias.items():
        if name not in names:
            raise ConfigError(
                f"class_bias names {name!r:.100}, which is no class of {label_space.name!r}; "
                f"{nearest_name(name, names)}"
            )
        if not -MAX_CLASS_BIAS <= bias <= MAX_CLASS_BIAS:  # nor NaN
            raise ConfigError(
                f"class_bias of {name!r} is {bias}; {-MAX_CLASS_BIAS} to {MAX_CLASS_BIAS} expected, what is added to "
                "the logarithm of its probability, such as 0.5"
            )
        factors[names.index(name)] = np.exp(bias)
    return factors


def favoured(probabilities: Any, factors: npt.NDArray[np.float32]) -> Any:
    """Post-hoc logit adjustment (Menon et al., 2021), on probabilities: each times its factor, and brought to sum 1.

    Args:
        probabilities: (N, K, H, W), an array or a tensor.
        factors: (K,), as `class_factors` gives them.

    Returns:
        Of the same kind and shape.

    Example:
        >>> favoured(np.array([[[[0.8]], [[0.2]]]]), np.array([1, 4], np.float32)).ravel().tolist()
        [0.5, 0.5]
    """
    weighted = probabilities * as_like(factors.reshape(1, -1, 1, 1), probabilities)
    return weighted / weighted.sum(1, keepdims=True)
