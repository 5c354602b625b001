"""How the outcomes of rules name several counts."""

from collections.abc import Mapping


def largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names with their counts in a fixed order: the largest first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
