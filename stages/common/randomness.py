"""Random numbers that depend on what they are for, never on position or order."""

import hashlib
import json

import numpy as np


def digest(*parts: object) -> bytes:
    """32 bytes that stand for `parts` as texts; different texts give different bytes."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()


def generator(seed: int, purpose: str, *what: object) -> np.random.Generator:
    """A random generator for one purpose and thing.

    Args:
        seed: The seed from the params.
        purpose: What the numbers are for, e.g. "augment".
        what: What they are drawn for, e.g. an image id and a variant.

    Returns:
        The same generator for the same arguments, on every machine and in every order of calls.
    """
    return np.random.default_rng(int.from_bytes(digest(seed, purpose, *what), "little"))
