"""The register of erased customers: keyed hashes, by which one who comes back is recognised.

    <root>/erased.json

It never holds an id. An HMAC of the canonical id with a secret key says of an id at hand whether it
is in the register; without the key nobody can try ids on it. What is removed of a customer who is
already stored is `erasing.py`'s business.
"""

import hmac
import os
from collections.abc import Iterable, Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Final

import narwhals as nw
from pydantic import BaseModel, ConfigDict
from upath import UPath

from rfm_assets.domain.frames import Table
from rfm_assets.domain.row_policy import canonical_id
from rfm_assets.errors import ErasureKeyMissing
from rfm_assets.failures import storage
from rfm_assets.manifest import read_document
from rfm_assets.store import Store

REGISTER: Final = "erased.json"
KEY_VARIABLE: Final = "RFM_ERASURE_KEY"
_KNOWN_TEXT: Final = "the key of this register"
_SHORTEST_KEY: Final = 32


class Entry(BaseModel):
    """One customer, unrecognisable without the key, and when she was erased."""

    hash: str
    since: date


class Register(BaseModel):
    """Who was erased, and in which environment variable the key is.

    Attributes:
        key_check: A hash of a known text: a wrong key is noticed before it recognises nobody.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    key_variable: str = KEY_VARIABLE
    key_check: str = ""
    entries: list[Entry] = []

    def key(self) -> bytes:
        """The key, from the environment.

        Raises:
            ErasureKeyMissing: It is not set, too short, or not the one of the entries.
        """
        text = os.environ.get(self.key_variable, "")
        if not text:
            raise ErasureKeyMissing(variable=self.key_variable, reason="is not set")
        if len(text) < _SHORTEST_KEY:
            raise ErasureKeyMissing(variable=self.key_variable, reason="is too short")
        key = text.encode()
        if self.key_check and not hmac.compare_digest(self.key_check, _hash(key, _KNOWN_TEXT)):
            raise ErasureKeyMissing(
                variable=self.key_variable, reason="is not the key that the register was made with"
            )
        return key

    def among(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` who were erased, sorted."""
        if not self.entries:
            return []
        key, known = self.key(), {entry.hash for entry in self.entries}
        return sorted({one for one in ids if _hash(key, canonical_id(one)) in known})

    def with_customers(self, ids: Iterable[str], *, today: date, variable: str) -> "Register":
        """The register with these as well; who is in it already stays with her day.

        Raises:
            ErasureKeyMissing: There is no key, or not the one of the entries.
        """
        renamed = self.model_copy(update={"key_variable": variable})
        key = renamed.key()
        known = {entry.hash for entry in self.entries}
        new = {_hash(key, canonical_id(one)) for one in ids} - known
        more = [Entry(hash=one, since=today) for one in sorted(new)]
        return renamed.model_copy(
            update={"key_check": _hash(key, _KNOWN_TEXT), "entries": [*self.entries, *more]}
        )


def register_of(store: Store) -> Register:
    """The register of a store; an empty one where nobody was ever erased.

    Raises:
        SnapshotUnreadable: It is damaged, so that nobody can be recognised.
    """
    path = store.root / REGISTER
    return read_document(path, Register) if path.exists() else Register()


def write_register(store: Store, register: Register) -> None:
    """Put the register in its place, in one step."""
    path = store.root / REGISTER
    text = register.model_dump_json(indent=1)
    with storage(path):
        store.root.mkdir(parents=True, exist_ok=True)
        if isinstance(path, Path):
            beside = path.with_suffix(".new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        else:
            UPath(path).write_text(text, encoding="utf-8")


def erased_among(store: Store, table: Table) -> list[str]:
    """The customers of a table who were erased, as they are spelt there; it costs nothing if none was.

    Raises:
        ErasureKeyMissing: Somebody was erased, and the key to recognise her is not there: rows
            must not come back because nobody can tell whose they are.
    """
    register = register_of(store)
    if not register.entries:
        return []
    register.key()
    named = table.filter(~nw.col("customer_id").is_null())
    ids = named.group_by("customer_id").agg(rows=nw.len()).select("customer_id").collect("pyarrow")
    return register.among(ids.get_column("customer_id").to_list())


def without(table: Table, customers: Sequence[str]) -> Table:
    """The rows of everybody else, and those that name nobody."""
    if not customers:
        return table
    hers = nw.col("customer_id").is_in(list(customers))
    return table.filter(nw.col("customer_id").is_null() | ~hers)


def rows_of_customers(table: Table, customers: Sequence[str]) -> int:
    """How many rows are of one of some customers."""
    if not customers:
        return 0
    hers = table.filter(nw.col("customer_id").is_in(list(customers)))
    return int(hers.select(n=nw.len()).collect("pyarrow").get_column("n").to_list()[0])


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
