"""Random numbers that depend on what they are for, never on position or order."""

import hashlib
import json
import struct

import numpy as np


def digest(*parts: object) -> bytes:
    """32 bytes that stand for `parts` as texts; different texts give different bytes."""
    return hashlib.sha256(_text(*parts)).digest()


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


def uniforms(count: int, seed: int, purpose: str, *what: object) -> list[float]:
    """A few random numbers for one purpose and thing, at a tenth of the time of `generator`.

    Args:
        count: How many; fewer are the first ones of more.
        seed, purpose, what: As for `generator`.

    Returns:
        Floats in [0, 1): the same for the same arguments, on every machine and in every order of
        calls.
    """
    stream = hashlib.shake_256(_text(seed, purpose, *what)).digest(8 * count)
    # A float has 53 bits.
    return [bits // 2**11 / 2**53 for bits in struct.unpack(f"<{count}Q", stream)]


def whole_number(seed: int, purpose: str, *what: object) -> int:
    """A random whole number below 2**31, e.g. as the seed of something in Keras."""
    return int.from_bytes(digest(seed, purpose, *what)[:4], "little") >> 1


def _text(*parts: object) -> bytes:
    return json.dumps([str(part) for part in parts]).encode()
