"""Random weights that keep activations near one, whatever writes them, and their hashes."""

import hashlib

import numpy as np


def values_for(role: str, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Distinct values for a weight, by its role: `kernel`, `gamma`, `moving_variance`, ..."""
    if role == "count":
        return np.full(shape, 7)
    if role == "gamma":
        return rng.uniform(0.8, 1.2, shape)
    if role in ("moving_variance", "variance"):
        return rng.uniform(0.5, 1.5, shape)
    if role in ("beta", "bias", "mean", "moving_mean"):
        return rng.normal(0, 0.1, shape)
    fan_in = shape[0] * shape[1] if role == "depthwise_kernel" else np.prod(shape[:-1])
    return rng.uniform(-2, 2, shape) / np.sqrt(fan_in)


def hash_of(array: np.ndarray) -> tuple[str, tuple, str]:
    """The type, the shape and the SHA-256 of an array."""
    content = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
    return array.dtype.name, array.shape, content
