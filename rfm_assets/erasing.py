"""Taking customers out of everything that is stored, and looking afterwards that nothing is left.

Each snapshot that has them is written again without their rows, as a version of its own, and
the versions that have them are removed at once. Figures of many customers stay as they are. Who
was erased is kept as a keyed hash only (`erased.py`). Whatever is interrupted can be done again: it
only does what is still to be done.
"""

from __future__ import annotations

import codecs
import json
import re
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from rfm_assets.domain.row_policy import canonical_id
from rfm_assets.erased import REGISTER, register_of, write_register
from rfm_assets.failures import storage
from rfm_assets.manifest import MANIFEST, PROMOTED, Manifest, read_document
from rfm_assets.schemas import CONTRACTS
from rfm_assets.store import ROWS, AsOf, Snapshot, Store

ERASED = "(erased)"
"""Stands where a document named somebody who was erased."""

_CUSTOMER = "customer_id"
_FREE = {_CUSTOMER, "detail", "raw"}
"""Columns of contracts that may hold an id. Another one, such as `rfm_cell`, only looks like one."""
_TOLD_APART = 5
"""Digits that a number must have to be taken for an id inside a longer text."""
_TECHNICAL = {"version", "config_hash", "source_fingerprint", "run_id", "files", "checksums"} | {
    "inputs", "created_at", "as_of", "table", "kind", "rewrites", "format",
    "supersedes",
}  # fmt: skip


@dataclass(frozen=True)
class Removed:
    """What was, or would be, removed from one part of one version."""

    table: str
    as_of: AsOf
    version: str
    part: str
    rows: int
    texts: int = 0
    """Cells, or places of a document, that named a customer beside her rows."""


@dataclass
class Erasure:
    """What became of it.

    Attributes:
        removed: By part of each version.
        files: Files of the project that named somebody, with the number of places.
        left: Where somebody is found afterwards; nothing, if all went well.
        elsewhere: What cannot be erased from here, and how it can.
        searched: Files that were read in the end to see that nobody is left.
    """

    customers: int
    removed: list[Removed] = field(default_factory=list[Removed])
    files: dict[str, int] = field(default_factory=dict[str, int])
    left: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])
    searched: int = 0


def erase(
    store: Store,
    customers: Sequence[str],
    *,
    today: date,
    key_variable: str,
    project: Path | None = None,
    dry_run: bool = False,
) -> Erasure:
    """Remove customers from everything below a store's root.

    Args:
        store: What is stored.
        customers: Their ids, in any spelling.
        today: The day that the register notes.
        key_variable: Environment variable with the key of the register.
        project: Its `.rfm` folder is cleaned, too.
        dry_run: Only look what would be removed.

    Raises:
        ErasureKeyMissing: There is no key, so that nobody could be recognised later.
        SnapshotUnreadable: A file is damaged; nobody can say what is in it.
    """
    wanted = _Wanted(customers)
    done = Erasure(customers=len(wanted.ids))
    if not dry_run:
        # First, so that a run that begins now does not store them again.
        register = register_of(store)
        write_register(
            store, register.with_customers(wanted.ids, today=today, variable=key_variable)
        )
    for table, as_of in _snapshots(store):
        done.removed += _erase_snapshot(store, table, as_of, wanted, done, dry_run=dry_run)
    if project is not None:
        done.files = _clean_files(project / ".rfm", wanted, dry_run=dry_run)
    if not dry_run:
        _prove(store, project, wanted, done)
    return done


class _Wanted:
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


def _snapshots(store: Store) -> Iterator[tuple[str, AsOf]]:
    for table in store.tables():
        folder = store.root / table
        for path in sorted(folder.iterdir(), key=str):
            prefix, _, text = path.name.partition("=")
            if prefix == "as_of":
                yield table, None if text == "all" else date.fromisoformat(text)


class _Published(Exception):
    """A run published a version while another was written again."""


_TRIES = 5


def _erase_snapshot(
    store: Store, table: str, as_of: AsOf, wanted: _Wanted, done: Erasure, *, dry_run: bool
) -> list[Removed]:
    """Write the current version again if it has them, and remove every other one that has."""
    for _ in range(_TRIES):
        before = list(done.elsewhere)
        try:
            return _erase_once(store, table, as_of, wanted, done, dry_run=dry_run)
        except _Published:
            done.elsewhere[:] = before
    # What is left is found by the search afterwards, and told.
    return []


def _erase_once(
    store: Store, table: str, as_of: AsOf, wanted: _Wanted, done: Erasure, *, dry_run: bool
) -> list[Removed]:
    found: list[Removed] = []
    having: list[str] = []
    folders = store.version_folders(table, as_of)
    pointed = {one.version: one for one in _kept(store, table, as_of)}
    current = next(iter(pointed.values()), None)
    for folder in folders:
        manifest = _manifest(folder)
        here = _look_into(table, as_of, folder, manifest, wanted)
        if here:
            having.append(folder.name)
            found += here
        if manifest is not None and manifest.in_place is not None and folder.name in pointed:
            place = str(manifest.in_place.get("root", ""))
            done.elsewhere.append(
                f"{table} is read in place: take the rows out of its Parquet files below {place}, "
                "and run it again."
            )
    if dry_run:
        return found
    if current is not None and current.version in having:
        _rewrite(store, current, wanted)
    # Whoever is writing one of them loses it: it would bring her back.
    store.drop_versions(table, as_of, having)
    if current is None and having:
        # What retention has taken out of sight has no reader to wait for any more.
        store.drop_retired(table, at_once=True)
    return found


def _kept(store: Store, table: str, as_of: AsOf) -> list[Snapshot]:
    from rfm_assets.errors import SnapshotMissing

    try:
        return store.kept(table, as_of)
    except SnapshotMissing:
        return []


def _manifest(folder: UPath) -> Manifest | None:
    path = folder / MANIFEST
    return read_document(path, Manifest) if path.exists() else None


def _parts(folder: UPath) -> Iterator[tuple[str, UPath]]:
    """Every Parquet file of a version, by part."""
    for part in sorted(folder.iterdir(), key=str):
        if part.is_dir():
            for file in sorted(part.glob("*.parquet"), key=str):
                yield part.name, file


def _look_into(
    table: str, as_of: AsOf, folder: UPath, manifest: Manifest | None, wanted: _Wanted
) -> list[Removed]:
    rows: dict[str, int] = {}
    texts: dict[str, int] = {}
    kind = manifest.kind if manifest else table
    for part, file in _parts(folder):
        here, cells = _counted(file, _Judge(kind, part, wanted))
        rows[part] = rows.get(part, 0) + here
        texts[part] = texts.get(part, 0) + cells
    found = [
        Removed(table, as_of, folder.name, part, rows[part], texts[part])
        for part in rows
        if rows[part] or texts[part]
    ]
    told = sum(1 for text in _texts(manifest) if wanted.named_in(text)) if manifest else 0
    if told:
        found.append(Removed(table, as_of, folder.name, MANIFEST, 0, told))
    return found


class _Judge:
    """Which rows of a batch are theirs, and which cells of other rows name them."""

    def __init__(self, kind: str, part: str, wanted: _Wanted) -> None:
        contract = CONTRACTS.get(kind)
        if contract is not None and part != ROWS:
            contract = contract.parts.get(part)
        self._declared = set(contract.schema.columns) if contract else set[str]()
        # A row that is kept as it stood may name her in any of its columns.
        self._any_column = contract is None or "rejects" in {part, *kind.split("_")}
        self._own = contract is None
        self._wanted = wanted

    def free(self, schema: pa.Schema) -> list[int]:
        """Positions of the columns that may hold an id beside the customer's own."""
        return [
            position
            for position, one in enumerate(schema)
            if _is_text(one.type)
            and one.name != _CUSTOMER
            and (one.name in _FREE or one.name not in self._declared)
        ]

    def hers(self, batch: pa.Table) -> pa.ChunkedArray:
        """True where the row is theirs."""
        found: Any = pa.chunked_array([pa.repeat(pa.scalar(value=False), batch.num_rows)])
        for position, one in enumerate(batch.schema):
            if one.name == _CUSTOMER or (
                self._own and _is_number(one.type) and _WHOSE.search(one.name)
            ):
                found = pc.or_(found, self._matches(batch.column(position), self._wanted.whole))
            elif self._any_column and position in self.free(batch.schema):
                found = pc.or_(found, self._matches(batch.column(position), self._wanted.pattern))
        return found

    def named(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        return self._matches(column, self._wanted.pattern)

    @staticmethod
    def _matches(column: pa.ChunkedArray, pattern: str) -> Any:
        texts = column if _is_plain_text(column.type) else _as_text(column)
        return pc.fill_null(pc.match_substring_regex(texts, pattern), fill_value=False)


_WHOSE = re.compile("customer|client|user|member|person|buyer", re.IGNORECASE)
"""Names of columns in which a number is somebody's id; elsewhere it may be a quantity."""


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_plain_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text(kind: pa.DataType) -> bool:
    """Whether there may be a text in a column, at whatever depth."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    if pa.types.is_nested(kind):
        return any(_is_text(kind.field(n).type) for n in range(kind.num_fields))
    return _is_plain_text(kind) or pa.types.is_string_view(kind)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        texts = [
            None if one is None else json.dumps(one, default=str) for one in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return pc.cast(column, pa.string())


def _counted(file: UPath, judge: _Judge) -> tuple[int, int]:
    rows = cells = 0
    with file.open("rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches():
            table = pa.Table.from_batches([batch])
            hers = judge.hers(table)
            rows += pc.sum(hers).as_py() or 0
            others = table.filter(pc.invert(hers))
            for position in judge.free(table.schema):
                cells += pc.sum(judge.named(others.column(position))).as_py() or 0
    return rows, cells


def _rewrite(store: Store, snapshot: Snapshot, wanted: _Wanted) -> None:
    """A new version of a snapshot without them, promoted in its place."""
    old = snapshot.manifest
    with store.stage(snapshot.table, snapshot.as_of) as staging:
        counts = dict(old.row_counts)
        erased = 0
        for part in old.files:
            judge = _Judge(old.kind, part, wanted)
            target = staging.path_for(part)
            target.mkdir(parents=True, exist_ok=True)
            for file in snapshot.files(part):
                removed = _without_them(file, target / file.name, judge)
                counts[part] -= removed
                erased += removed
        content = old.model_dump(mode="json")
        for key in content.keys() - _TECHNICAL:
            content[key] = _cleaned(content[key], wanted)
        manifest = Manifest.model_validate(
            content
            | {
                "row_counts": counts,
                "erased": old.erased + erased,
                "rewrites": [*old.rewrites, old.version],
                "files": {},
                "checksums": {},
            }
        )
        if store.current_version(snapshot.table, snapshot.as_of) != snapshot.version:
            raise _Published
        staging.promote(manifest)


def _without_them(source: UPath, target: UPath, judge: _Judge) -> int:
    """Copy a Parquet file without their rows and mentions; how many rows that were."""
    rows, cells = _counted(source, judge)
    if not rows and not cells:
        with storage(target), source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write)
        return 0
    with storage(target), source.open("rb") as read, target.open("wb") as write:
        file = pq.ParquetFile(read)
        schema = file.schema_arrow
        first = file.metadata.row_group(0).column(0) if file.metadata.num_row_groups else None
        with pq.ParquetWriter(
            write, schema, compression=first.compression if first else "zstd"
        ) as writer:
            for batch in file.iter_batches():
                table = pa.Table.from_batches([batch])
                table = table.filter(pc.invert(judge.hers(table)))
                for position in judge.free(table.schema):
                    column = table.column(position)
                    nothing = pa.scalar(None, column.type)
                    blanked = pc.if_else(judge.named(column), nothing, column)
                    table = table.set_column(position, table.schema.field(position), blanked)
                writer.write_table(table.cast(schema))
    return rows


def _texts(manifest: Manifest) -> Iterator[str]:
    content = manifest.model_dump(mode="json")
    for key in content.keys() - _TECHNICAL:
        yield from _texts_in(content[key])


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield str(key)
            yield from _texts_in(below)
    elif isinstance(value, Sequence):
        for below in value:
            yield from _texts_in(below)


def _cleaned(value: Any, wanted: _Wanted) -> Any:
    if isinstance(value, str):
        return wanted.replaced(value)
    if isinstance(value, Mapping):
        return {wanted.replaced(key): _cleaned(below, wanted) for key, below in value.items()}
    if isinstance(value, list):
        return [_cleaned(below, wanted) for below in value]
    return value


def _clean_files(folder: Path, wanted: _Wanted, *, dry_run: bool) -> dict[str, int]:
    """Uploads, and what runs wrote down: lines of tables go, other mentions are replaced."""
    found: dict[str, int] = {}
    for file in _files_below(folder):
        encoding = _encoding(file)
        if encoding is None:
            continue
        lines = file.read_bytes().decode(encoding, "surrogateescape").splitlines(keepends=True)
        rows = file.suffix in {".csv", ".tsv", ".txt"}
        named = [_line_names(line, wanted, rows=rows) for line in lines]
        if not any(named):
            continue
        found[str(file)] = sum(named)
        if dry_run:
            continue
        kept = [
            wanted.replaced(line) if hit else line
            for line, hit in zip(lines, named, strict=True)
            if not (hit and rows)
        ]
        beside = file.with_name(f"{file.name}.new")
        beside.write_bytes("".join(kept).encode(encoding, "surrogateescape"))
        beside.chmod(file.stat().st_mode)
        beside.replace(file)
    return found


def _encoding(file: Path) -> str | None:
    """How a text is written; None for what is no text, and must not be changed as if it were."""
    with file.open("rb") as stream:
        begin = stream.read(1 << 16)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return None if b"\0" in begin or begin.startswith(_GZIP) else "utf-8"


_GZIP = b"\x1f\x8b"


def _line_names(line: str, wanted: _Wanted, *, rows: bool) -> bool:
    """Whether a line names somebody: as a word, or in a file of rows as a whole cell."""
    if wanted.named_in(line):
        return True
    return rows and any(
        wanted.named_in(cell.strip("\"' \r\n")) for cell in re.split(r"[,;\t|]", line)
    )


def _files_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "keys.json":
            yield file


def _prove(store: Store, project: Path | None, wanted: _Wanted, done: Erasure) -> None:
    """Read everything that is there now, whether or not anything points to it."""
    for table, as_of in _snapshots(store):
        for folder in store.version_folders(table, as_of):
            done.searched += 1 + sum(1 for _ in _parts(folder))
            manifest = _manifest(folder)
            if manifest is None and (folder / PROMOTED).exists():
                done.left.append(f"{folder}: its manifest is gone, so that nobody can say")
            for one in _look_into(table, as_of, folder, manifest, wanted):
                done.left.append(f"{folder}/{one.part}: {one.rows} rows, {one.texts} mentions")
    for path in _documents(store):
        done.searched += 1
        if any(wanted.named_in(text) for text in _texts_in(json.loads(path.read_text("utf-8")))):
            done.left.append(str(path))
    if project is not None:
        done.searched += sum(1 for _ in _files_below(project / ".rfm"))
        done.left += sorted(_clean_files(project / ".rfm", wanted, dry_run=True))
        done.left += [
            f"{file}: no text, so that it cannot be searched"
            for file in _files_below(project / ".rfm")
            if _encoding(file) is None
        ]


def _documents(store: Store) -> Iterator[UPath]:
    """JSON directly below the root that is no version's: the register holds hashes only."""
    yield from (path for path in store.root.glob("*.json") if path.name != REGISTER)
