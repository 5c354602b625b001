"""What commands that read a store share: how a snapshot is named, and the way to its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rfm_assets.serving.queries import Queries
    from rfm_assets.store import Store

AsOf = Annotated[
    str | None, typer.Option(metavar="DATE", help="Date of the snapshot; the latest by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Say it as one JSON document.")]


@contextmanager
def asking(store: Store) -> Iterator[Queries]:
    """Answers about a store, until the command is done."""
    from rfm_assets.serving.queries import Queries

    queries = Queries(store)
    try:
        yield queries
    finally:
        queries.close()
