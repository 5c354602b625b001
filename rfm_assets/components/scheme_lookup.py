"""Segment names that a component's YAML uses, checked against the scheme they come from.

At load where the scheme is known from another component of the project, and at run against the
scheme that the stored snapshot was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from rfm_assets.domain.schemes import Scheme
from rfm_assets.errors import InvalidConfig
from rfm_assets.store import Snapshot

if TYPE_CHECKING:
    from rfm_assets.components.customer_segments import CustomerSegmentationComponent


def stored_scheme(snapshot: Snapshot) -> Scheme | None:
    """The scheme that a snapshot of segments was made with; None where it has scores only."""
    stored = snapshot.manifest.extra.get("scheme")
    return None if stored is None else Scheme.model_validate(stored)


def scheme_at_load(context: dg.ComponentLoadContext, segments: dg.AssetKey) -> Scheme | None:
    """The scheme of the component that makes `segments`, if it is part of this project."""
    maker = _maker_of(context, segments)
    return None if maker is None else _scheme_of(maker, context)


def _maker_of(
    context: dg.ComponentLoadContext, segments: dg.AssetKey
) -> CustomerSegmentationComponent | None:
    # Imported here because that component imports this module.
    from rfm_assets.components.customer_segments import CustomerSegmentationComponent

    every = context.component_tree.get_all_components(CustomerSegmentationComponent)
    return next((one for one in every if one.key == segments), None)


def _scheme_of(
    maker: CustomerSegmentationComponent, context: dg.ComponentLoadContext
) -> Scheme | None:
    # A wrong scheme is that component's fault, and is told with its file and line.
    with maker.placing_errors():
        return maker.scheme(context)


def segments_at_load(
    context: dg.ComponentLoadContext, segments: dg.AssetKey, asked: Sequence[str]
) -> Iterator[Callable[[], object]]:
    """What must hold of the segments that a component's `segments` asks for.

    Nothing where another project makes the customers' segments.
    """
    if not (asked and (maker := _maker_of(context, segments))):
        return
    if (scheme := _scheme_of(maker, context)) is None:
        yield partial(segment_names, asked, None, key="segments")
        return
    for number, name in enumerate(asked):
        yield partial(segment_names, [name], scheme, key=f"segments[{number}]")


def segment_names(asked: Sequence[str], scheme: Scheme | None, *, key: str) -> list[str]:
    """The stored names of the segments asked for, in order, each once.

    Raises:
        UnknownSegment: One of them is not in the scheme.
        InvalidConfig: Segments are asked for, but the snapshot has none.
    """
    if asked and scheme is None:
        raise InvalidConfig(
            key=key,
            value=list(asked),
            reason="cannot be found: the customers have scores, but no segments",
            fix="Set `use_predefined_segments: true` where the segments are made, or use `where`.",
        )
    if scheme is None:
        return []
    return list(dict.fromkeys(scheme.segment_called(word, key=key).name for word in asked))
