"""Random numbers that are a pure function of what they are for.

A draw is a hash of a seed, a stream and any number of indices, so that it does not depend on
which other draws are made, or in which order. What they are used for does not belong here.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
_Bits: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ATTEMPTS: Final = 12
"""Of the gamma's rejection method; each succeeds with 95 %, all fail once in 10**15."""


def _mixed(bits: _Bits) -> _Bits:
    """The finaliser of SplitMix64: every bit of the input moves half of the output."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _hashed(seed: int, stream: int, indices: tuple[Integers, ...]) -> _Bits:
    length = len(indices[0])
    bits = _mixed(np.full(length, seed % 2**64, np.uint64) + _GOLDEN)
    for index in (np.full(length, stream, np.int64), *indices):
        bits = _mixed((bits ^ index.astype(np.int64).view(np.uint64)) + _GOLDEN)
    return bits


def uniform(seed: int, stream: int, *indices: Integers) -> Numbers:
    """One number per index, evenly between 0 and 1, both excluded."""
    bits = _hashed(seed, stream, indices) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, stream: int, *indices: Integers) -> Numbers:
    """One number per index from the normal distribution with mean 0 and deviation 1."""
    first = np.zeros(len(indices[0]), np.int64)
    radius = np.sqrt(-2 * np.log(uniform(seed, stream, *indices, first)))
    return radius * np.cos(2 * np.pi * uniform(seed, stream, *indices, first + 1))


def gamma(seed: int, stream: int, *indices: Integers, shape: float) -> Numbers:
    """One number per index from the gamma distribution with that shape and scale 1.

    The method of Marsaglia and Tsang (2000), with its extension to shapes below 1.
    """
    d = (shape + 1 if shape < 1 else shape) - 1 / 3
    c = 1 / np.sqrt(9 * d)
    same = np.zeros(len(indices[0]), np.int64)
    result = np.full(len(same), d)
    pending = np.ones(len(same), np.bool_)
    for attempt in range(_ATTEMPTS):
        key = (*indices, same + 10 * (attempt + 1))
        x = normal(seed, stream, *key)
        v = np.maximum(1 + c * x, 0.0) ** 3
        u = uniform(seed, stream, *key, same + 7)
        with np.errstate(divide="ignore"):
            accepted = (v > 0) & (np.log(u) < 0.5 * x**2 + d * (1 - v + np.log(v)))
        result = np.where(pending & accepted, d * v, result)
        pending &= ~accepted
    if shape < 1:
        result = result * uniform(seed, stream, *indices, same + 5) ** (1 / shape)
    return result


def beta(seed: int, stream: int, *indices: Integers, a: float, b: float) -> Numbers:
    """One number per index from the beta distribution."""
    same = np.zeros(len(indices[0]), np.int64)
    one = gamma(seed, stream, *indices, same + 3, shape=a)
    other = gamma(seed, stream, *indices, same + 4, shape=b)
    return one / (one + other)
