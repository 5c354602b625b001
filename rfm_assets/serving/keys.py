"""API keys: who may ask what, of which organisation. Only hashes are stored.

A key is `rfm_<id>_<secret>`. The secret has 256 random bits, so that one round of SHA-256 keeps it:
there is no dictionary to try. Checking a request against a key is `api/access.py`'s business.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from rfm_assets.errors import KeysUnreadable

Scope: TypeAlias = Literal["segments", "customers", "personal", "export", "runs"]
"""What a key may do.

segments: figures of segments, campaigns and behaviour, without anybody's id.
customers: rows of single customers, by id or page by page.
personal: also the columns that a deployment carries along, such as an e-mail address.
export: all members of a table at once.
runs: upload files and launch computations.
"""

SCOPES: tuple[Scope, ...] = get_args(Scope)

EVERY_ORGANIZATION = "*"

_PREFIX = "rfm"


class StoredKey(BaseModel):
    """A key as it is stored: everything but the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    organization: str = Field(min_length=1)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    def allows(self, organization: str) -> bool:
        return self.organization in {EVERY_ORGANIZATION, organization}


class KeyRing:
    """The keys in one file, which is read again when it changes: a revoked key stops at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, StoredKey] = {}

    def find(self, key: str, *, now: datetime | None = None) -> StoredKey | None:
        """The stored key that `key` is; None where there is none, or its time is over."""
        prefix, _, rest = key.partition("_")
        identity, _, secret = rest.partition("_")
        stored = self.keys().get(identity)
        if prefix != _PREFIX or stored is None:
            return None
        if not hmac.compare_digest(stored.sha256, _digest(secret)):
            return None
        over = stored.expires_at is not None and stored.expires_at <= (now or datetime.now(UTC))
        return None if over else stored

    def keys(self) -> dict[str, StoredKey]:
        """Every stored key by its id.

        Raises:
            KeysUnreadable: The file is gone or damaged. Nobody gets in then.
        """
        try:
            stat = self.file.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                content = json.loads(self.file.read_text(encoding="utf-8"))
                keys = [StoredKey.model_validate(one) for one in content["keys"]]
                self._keys = {key.id: key for key in keys}
                self._seen = seen
        except (OSError, KeyError, TypeError, ValueError, ValidationError) as error:
            raise KeysUnreadable(file=str(self.file), reason=_first_line(error)) from error
        return self._keys

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope],
        organization: str = EVERY_ORGANIZATION,
        expires_at: datetime | None = None,
    ) -> str:
        """Store a new key and return it; it cannot be had a second time."""
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        stored = StoredKey(
            id=identity,
            name=name,
            sha256=_digest(secret),
            scopes=frozenset(scopes),
            organization=organization,
            created_at=datetime.now(UTC).replace(microsecond=0),
            expires_at=expires_at,
        )
        with self._alone():
            known = list(self.keys().values()) if self.file.exists() else []
            self._write([*known, stored])
        return f"{_PREFIX}_{identity}_{secret}"

    def revoke(self, identity: str) -> bool:
        """Remove a key; whether there was one."""
        if identity not in self.keys():
            return False
        with self._alone():
            self._write([key for key in self.keys().values() if key.id != identity])
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While the keys are read and written back: nobody else's change comes between.

        A file beside is what is locked, because the keys' own is another one after each change.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_name(f".{self.file.name}.lock"), mode=0o600):
            yield

    def _write(self, keys: Sequence[StoredKey]) -> None:
        content = {"keys": [_as_json(key) for key in keys]}
        new = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        new.replace(self.file)


def _as_json(key: StoredKey) -> dict[str, object]:
    return {**key.model_dump(mode="json"), "scopes": sorted(key.scopes)}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
