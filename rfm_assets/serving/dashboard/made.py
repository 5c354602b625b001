"""Pages that were made, kept for whoever opens the same address while the store says the same."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plotly.io.json import to_json_plotly

from rfm_assets.serving.catalogue import Catalogue, Reading, Remembered

KEPT = 64
"""Pages that are kept, of some hundred kilobytes each."""


@dataclass(frozen=True)
class Page:
    """What the browser is sent for one address.

    Attributes:
        content: The components of the page, as Dash sends them.
        as_of: Those of the choice of a snapshot.
        navigation: The links to all pages.
        said: What the controls say, by name, before anybody has touched them.
        heading: The title of the window.
        lasting: Whether the page was made without an error.
    """

    content: Any
    as_of: Any
    navigation: Any
    said: dict[str, str]
    heading: str
    lasting: bool


class Pages:
    """The pages of one store."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._made: Remembered[tuple[Page, Reading]] = Remembered(KEPT)

    def page(self, address: tuple[str, str], make: Callable[[], Page]) -> Page:
        """The page of an address, made anew where what it was made from is not what is stored."""
        known = self._made.known(address)
        if known is not None and self._catalogue.unchanged(known[1]):
            return known[0]
        with self._catalogue.noting() as reading:
            page = make()
        if page.lasting:
            self._made.replace(address, (page, reading))
        return page


def as_sent(components: Any) -> Any:
    """Components as Dash sends them, so that what is kept is not put together each time."""
    return json.loads(to_json_plotly(components))
