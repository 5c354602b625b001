"""Identifiers of people as destinations want them: normalised step by step, and hashed.

Each step is one sentence of a vendor's documentation. Which steps an identifier goes through is
data, in the destination's YAML; a value that a step cannot read is malformed and never guessed at.
A telephone number without its country's code is one of those.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

Step: TypeAlias = Literal[
    "trim",
    "drop_spaces",
    "lower",
    "upper",
    "email",
    "gmail",
    "e164",
    "digits",
    "drop_punctuation",
    "country",
]
Hash: TypeAlias = Literal["none", "sha256"]

STEPS: tuple[Step, ...] = get_args(Step)

MAX_EMAIL, MAX_LOCAL_PART = 254, 64
GMAIL_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_EMAIL = re.compile(r"[^\s@,;<>()\[\]\\\"]+@([^\s@.,;<>()\[\]\\\"]+\.)+[^\s@.,;<>()\[\]\\\"]{2,}")
_PHONE_MARKS = re.compile(r"[\s().\-/\u2010-\u2015]")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_BEGIN = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"  # the last four as East Asian keyboards have them
RUNS_FROM_START = rf"^\s*{_BEGIN}|^[\t\r\n]"
RUNS_INSIDE = rf"([;\t\r\n][\s\"]*)({_BEGIN})"
"""What a spreadsheet takes for a formula. Where it does not divide cells at commas, it does so at
semicolons or tabs, and a cell of ours becomes several. Both are read by RE2, too."""
NUMBER = r"^\s*[+-]?[0-9]+([.,][0-9]+)?\s*$"
"""What is a number there, and no formula."""

_FORMULA = re.compile(f"{RUNS_FROM_START}|{RUNS_INSIDE}")
_NUMBER = re.compile(NUMBER)


class Malformed(ValueError):
    """A value that cannot be brought into the form that a destination wants; says why."""


def _email(text: str) -> str:
    local, _, domain = text.rpartition("@")
    dotted = local.startswith(".") or local.endswith(".") or ".." in text
    if not _EMAIL.fullmatch(text) or dotted or domain.startswith("-"):
        raise Malformed("is no e-mail address")
    if len(text) > MAX_EMAIL or len(local) > MAX_LOCAL_PART:
        raise Malformed("is longer than an e-mail address can be")
    return text


def _gmail(text: str) -> str:
    """Google reads an address of Gmail without dots and without what follows a plus."""
    local, _, domain = text.rpartition("@")
    if domain not in GMAIL_DOMAINS:
        return text
    local = local.partition("+")[0].replace(".", "")
    if not local:
        raise Malformed("is no e-mail address")
    return f"{local}@{domain}"


def _e164(text: str) -> str:
    """Plus, country code, number: +18005550100."""
    bare = _PHONE_MARKS.sub("", text)
    if bare.startswith("00"):
        bare = f"+{bare[2:]}"
    if not bare.startswith("+"):
        raise Malformed("has no country code")
    if not _E164.fullmatch(bare):
        raise Malformed("is no telephone number")
    return bare


def _digits(text: str) -> str:
    """The same without the plus."""
    return text.removeprefix("+")


def _drop_punctuation(text: str) -> str:
    kept = (sign for sign in text if not unicodedata.category(sign).startswith(("P", "S")))
    return " ".join("".join(kept).split())


def _country(text: str) -> str:
    if not _COUNTRY.fullmatch(text):
        raise Malformed("is no two-letter country code")
    return text


_DONE: Mapping[Step, Callable[[str], str]] = {
    "trim": str.strip,
    "drop_spaces": lambda text: "".join(text.split()),
    "lower": str.lower,
    "upper": str.upper,
    "email": _email,
    "gmail": _gmail,
    "e164": _e164,
    "digits": _digits,
    "drop_punctuation": _drop_punctuation,
    "country": _country,
}


def normalised(value: object, steps: Sequence[Step]) -> str | None:
    """A value after all steps; None where there is none, or where nothing is left of it.

    Raises:
        Malformed: A step cannot read it.
    """
    if value is None or value != value:  # noqa: PLR0124  a float that is no number
        return None
    text = str(value)
    if not text.strip():
        return None
    for step in steps:
        text = _DONE[step](text)
    if any(unicodedata.category(sign) in {"Cc", "Cf", "Cs"} for sign in text):
        raise Malformed("has signs that cannot be seen")
    return text or None


def hashed(text: str, how: Hash) -> str:
    """SHA-256 of the UTF-8 text as lower-case hexadecimal digits, or the text itself."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest() if how == "sha256" else text


def would_run(text: str) -> bool:
    """Whether a spreadsheet would take a text for a formula; a number such as +4930123 is none."""
    return _FORMULA.search(text) is not None and _NUMBER.match(text) is None
