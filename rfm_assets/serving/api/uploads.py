"""Files that callers send: each takes the place of the one before once it was looked at.

What a row of it is worth is judged where it is read (`domain/churn_scores.py`), with the settings of
the component that reads it, which are not known here.
"""

import codecs
import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

from rfm_assets.serving.api.problems import Refused

_PIECE = 1 << 20

_LONGEST_LINE = 1 << 16

_SEPARATORS = re.compile(r"[,;\t|]")

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_TEXT = frozenset({".csv", ".tsv", ".txt"})


def keep_scores(upload: BinaryIO, target: Path, *, largest: int) -> None:
    """Put uploaded churn scores in the place of the file that a component reads, in one step.

    Raises:
        Refused: It is too large, or has nothing to be used; the file before stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while piece := upload.read(_PIECE):
                size += len(piece)
                if size > largest:
                    raise Refused(413, f"file: is larger than {largest // 1_000_000} MB.")
                file.write(piece)
        if not size:
            raise Refused(422, "file: is empty. Send a CSV with `customer_id,churn_score`.")
        if target.suffix.lower() in _TEXT and not _has_scores(new):
            raise Refused(
                422,
                "file: has no line with a customer and a score from 0 to 1. Send a CSV with "
                "`customer_id,churn_score`.",
            )
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _has_scores(file: Path) -> bool:
    """Whether any line could be used, whatever separates its values and whichever is the score."""
    with file.open("rb") as opening:
        wide = opening.read(2) in _WIDE
    with file.open(encoding="utf-16" if wide else "utf-8", errors="replace") as text:
        return any(_is_score(line) for line in iter(lambda: text.readline(_LONGEST_LINE), ""))


def _is_score(line: str) -> bool:
    values = [value for one in _SEPARATORS.split(line) if (value := one.strip(" \t\r\n\"'"))]
    return len(values) > 1 and any(_within_one(value) for value in values)


def _within_one(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False
