"""Whom is looked for, and how they are found in a text."""

import re
import unicodedata
from collections.abc import Sequence

from rfm_assets.domain.row_policy import canonical_id

ERASED = "(erased)"
"""Stands where a document named somebody who was erased."""

_TOLD_APART = 5
"""Digits that a number must have to be taken for an id inside a longer text."""


class Wanted:
    """The ids that are looked for, as a set, as a pattern for cells and one for documents."""

    def __init__(self, customers: Sequence[str]) -> None:
        self.ids = sorted({canonical_id(one) for one in customers} - {""})
        told = [one for one in self.ids if not one.isdigit() or len(one) >= _TOLD_APART]
        words = "|".join(re.escape(one) for one in told)
        exact = "|".join(re.escape(one) for one in self.ids)
        # RE2 and Python read these alike.
        self.pattern = rf"^\s*(?:{exact})(?:\.0+)?\s*$"
        if words:
            self.pattern += rf"|(?:^|[^0-9A-Za-z_])(?:{words})(?:$|[^0-9A-Za-z_])"
        self._in_text = re.compile(self.pattern)
        self._inner = re.compile(rf"(^|[^0-9A-Za-z_])(?:{words})(?=$|[^0-9A-Za-z_])")
        self._words = bool(words)
        self.whole = rf"^\s*(?:{exact})(?:\.0+)?\s*$"

    def named_in(self, text: str) -> bool:
        return self._in_text.search(unicodedata.normalize("NFC", text)) is not None

    def replaced(self, text: str) -> str:
        """The text without the ids."""
        text = unicodedata.normalize("NFC", text)
        if re.search(self.whole, text):
            return ERASED
        return self._inner.sub(rf"\1{ERASED}", text) if self._words else text
