"""One class per failure. Each takes its culprits as data and builds its own message.

A message names the culprit, the place and the fix. Nothing here reads files or frames.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, Protocol


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest in spelling to `word`, ignoring case, or None."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, candidates: Sequence[str]) -> str:
    """`Did you mean 'x'?` with the nearest match, else the list of what is allowed."""
    match = nearest(word, candidates)
    allowed = ", ".join(repr(candidate) for candidate in candidates)
    return f"Did you mean {match!r}? Allowed: {allowed}." if match else f"Allowed: {allowed}."


class RfmError(Exception):
    """Base of every error this package raises on purpose."""


class ColumnMissing(RfmError):
    """A column that the configuration names is not in the table."""

    def __init__(self, *, column: str, table: str, available: Sequence[str], key: str = "") -> None:
        where = f" (named by `{key}`)" if key else ""
        super().__init__(
            f"{table}: column {column!r}{where} does not exist. {did_you_mean(column, available)}"
        )
        self.column, self.table, self.available = column, table, tuple(available)
        self.key = key


class InvalidConfig(RfmError):
    """A configuration value that is wrong in itself or beside another."""

    def __init__(self, *, key: str, value: object, reason: str, fix: str) -> None:
        super().__init__(f"{key}: {value!r} {reason}. {fix}")
        self.key, self.value = key, value


class SnapshotMissing(RfmError):
    """No snapshot of a table at the date asked for."""

    def __init__(self, *, table: str, as_of: str, root: str, available: Sequence[str]) -> None:
        if available:
            shown = ", ".join(available[-5:])
            rest = f"The last ones are {shown}."
        else:
            rest = "It has no snapshot yet: materialise it first, for example with `make demo`."
        super().__init__(f"{table}: no snapshot for as_of {as_of} below {root}. {rest}")
        self.table, self.as_of, self.root = table, as_of, root


class SnapshotGone(RfmError):
    """A version of a snapshot that was replaced, and is not kept any more."""

    def __init__(self, *, table: str, as_of: str, version: str) -> None:
        super().__init__(
            f"{table}: version {version} of {as_of} is not there any more. It was replaced by a "
            "newer one: begin again with the current snapshot."
        )
        self.table, self.as_of, self.version = table, as_of, version


class SuppressionUnknown(RfmError):
    """What a campaign list was held against is not there any more, so that nobody may be contacted."""

    def __init__(self, *, table: str, as_of: str, missing: str, place: str) -> None:
        super().__init__(
            f"{table} of {as_of} was made with {missing}, of which nothing is stored in {place}: "
            "nobody can say who was suppressed since, and so no members are given out. Compute "
            f"{missing} again, or publish it as well."
        )
        self.table, self.as_of, self.missing = table, as_of, missing


class KindMissing(RfmError):
    """No stored table of the kind that a page or a route shows."""

    def __init__(self, *, kind: str, root: str, organization: str | None = None) -> None:
        whose = f" of organisation {organization!r}" if organization else ""
        super().__init__(
            f"No table of the kind {kind}{whose} is stored below {root}. Add the component that "
            "makes it (`dg list components`) and materialise it."
        )
        self.kind, self.organization, self.root = kind, organization, root


class KeysUnreadable(RfmError):
    """The file of API keys cannot be read, so that nobody is let in."""

    def __init__(self, *, file: str, reason: str) -> None:
        super().__init__(
            f"{file} cannot be read ({reason}). Restore it, or make a new one with "
            "`rfm keys create NAME`."
        )
        self.file, self.reason = file, reason


class RunMissing(RfmError):
    """A run that nobody started here."""

    def __init__(self, *, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}. Runs are listed in Dagster's UI, too.")
        self.run_id = run_id


class UnsupportedFrame(RfmError):
    """A value stands where a table is needed; `where` names the asset that returned it."""

    def __init__(self, *, given: type, where: str = "") -> None:
        place = f"{where}: " if where else ""
        other = (
            " Or let another IO manager store it, by the asset's `io_manager_key`." if where else ""
        )
        super().__init__(
            f"{place}{given.__module__}.{given.__qualname__} is not a table. Give a pandas or "
            "polars DataFrame, a polars LazyFrame, a pyarrow Table, a DuckDB relation or a "
            f"narwhals frame.{other}"
        )
        self.given = given


class InvalidExpression(RfmError):
    """An expression that cannot be read, or whose parts do not fit together."""

    def __init__(self, *, text: str, position: int, reason: str, fix: str, key: str = "") -> None:
        where = f"{key}: " if key else ""
        line = text.replace("\n", " ").replace("\t", " ")
        super().__init__(
            f"{where}expression is wrong at character {position + 1}: {reason}. {fix}\n"
            f"  {line}\n  {' ' * position}^"
        )
        self.text, self.position, self.reason, self.fix = text, position, reason, fix

    def named(self, key: str) -> "InvalidExpression":
        """The same error, saying which key of the configuration holds the expression."""
        return InvalidExpression(
            text=self.text, position=self.position, reason=self.reason, fix=self.fix, key=key
        )


class UnknownSegment(RfmError):
    """A segment that the scheme does not have."""

    def __init__(
        self, *, segment: str, key: str, known: Sequence[str], spellings: Sequence[str] = ()
    ) -> None:
        match = nearest(segment, [*known, *spellings])
        hint = f"Did you mean {match!r}? " if match else ""
        super().__init__(
            f"{key}: {segment!r} is not a segment of the scheme. "
            f"{hint}Its segments are {', '.join(repr(name) for name in known)}."
        )
        self.segment, self.known = segment, tuple(known)


class YamlProblem(NamedTuple):
    """One thing that is wrong in a YAML file: the line if known, the key path, what to do."""

    line: int | None
    key: str
    message: str


class InvalidYaml(RfmError):
    """A configuration file with values that are not allowed: everything that is wrong in it."""

    def __init__(self, *, file: str, problems: Sequence[YamlProblem]) -> None:
        lines: list[str] = []
        for line, key, message in problems:
            place = file if line is None else f"{file}:{line}"
            lines.append(f"{place} {f'`{key}`: ' if key else ''}{message}".strip())
        super().__init__("\n".join(lines))
        self.file, self.problems = file, tuple(problems)


class InvalidTableName(RfmError):
    """A table name that could leave the store's root, or clash with another."""

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"{name!r} cannot name a stored table. Use letters, digits and single underscores, "
            "beginning with a letter or digit, such as `customer_segments`."
        )
        self.name = name


class InvalidAsOf(RfmError):
    """Something else stands where the date of a snapshot is needed."""

    def __init__(self, *, given: object) -> None:
        super().__init__(
            f"as_of: {given!r} is not a date. Write it like 2026-06-21; in Python, "
            "`date(2026, 6, 21)` does as well."
        )
        self.given = given


class PartMissing(RfmError):
    """A snapshot without the part that is asked for."""

    def __init__(self, *, table: str, part: str, available: Sequence[str]) -> None:
        super().__init__(f"{table}: no part {part!r}. {did_you_mean(part, available)}")
        self.table, self.part = table, part


class SnapshotUnreadable(RfmError):
    """A snapshot that exists, but cannot be read. Unknown is not empty."""

    def __init__(
        self,
        *,
        path: str,
        reason: str,
        fix: str = "Restore it from a backup, or remove the folder it lies in and run the "
        "partition again.",
    ) -> None:
        super().__init__(f"{path} {reason}. {fix}")
        self.path, self.reason = path, reason


class StagingClosed(RfmError):
    """A staged version that is used after it was promoted or given up."""

    def __init__(self, *, table: str, version: str) -> None:
        super().__init__(
            f"{table}: version {version} is closed. Stage a new one with `store.stage(...)`."
        )
        self.table, self.version = table, version


class UnsupportedConstraint(RfmError):
    """A contract that says more than the engines can check."""

    def __init__(self, *, schema: str, column: str, constraint: str) -> None:
        super().__init__(
            f"rfm_assets/schemas.py: {schema}.{column}: {constraint} cannot be checked in the "
            "engine. Add a translation in rfm_assets/constraints.py, or make it a rule of the "
            "publisher."
        )
        self.schema, self.column, self.constraint = schema, column, constraint


class PartMismatch(RfmError):
    """Tables are published together that do not belong together by the contract."""

    def __init__(self, *, table: str, given: Sequence[str], expected: Sequence[str]) -> None:
        super().__init__(
            f"{table}: the parts {', '.join(given)} are given, the contract has "
            f"{', '.join(expected)}. Give every part, with no rows where there are none."
        )
        self.table, self.given, self.expected = table, tuple(given), tuple(expected)


class _Outcome(Protocol):
    @property
    def passed(self) -> bool: ...

    @property
    def blocking(self) -> bool: ...

    def sentence(self) -> str: ...


class ValidationFailed(RfmError):
    """A table that must not be published; carries the outcome of every check."""

    def __init__(self, *, table: str, as_of: str, outcomes: Sequence[_Outcome]) -> None:
        failed = [one for one in outcomes if one.blocking and not one.passed]
        listed = "".join(f"\n- {one.sentence()}" for one in failed)
        super().__init__(
            f"{table} as of {as_of}: not published, and the last good snapshot is kept, because "
            f"{len(failed)} of {len(outcomes)} checks failed:{listed}"
        )
        self.table, self.outcomes = table, tuple(outcomes)


class SourceMissing(RfmError):
    """A file or folder that a source names is not there."""

    def __init__(self, *, path: str, root: str, nearby: Sequence[str] = ()) -> None:
        if nearby:
            fix = f"That folder holds {', '.join(nearby)}."
        else:
            fix = "Check `source.path`; relative paths start at the project's root."
        super().__init__(f"{path}: no such file below {root}. {fix}")
        self.path, self.root = path, root


class SourceUnreadable(RfmError):
    """A source that is there but is not what it is said to be."""

    def __init__(self, *, source: str, reason: str, fix: str) -> None:
        super().__init__(f"{source}: {reason}. {fix}")
        self.source, self.reason = source, reason


class SourceTruncated(RfmError):
    """A file that ends too early. Its rows are not used, because the rest is missing."""

    def __init__(self, *, source: str, where: str) -> None:
        super().__init__(
            f"{source}: the file is cut off {where}. Nothing of it is used; copy or export it "
            "again."
        )
        self.source = source


class SourceEmpty(RfmError):
    """A source without a single row."""

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(
            f"{source}: {reason}. Nothing is published and the last good data stay; check the "
            "export."
        )
        self.source = source


class TableMissing(RfmError):
    """A table that the store does not have."""

    def __init__(self, *, table: str, root: str, available: Sequence[str]) -> None:
        hint = (
            did_you_mean(table, available)
            if available
            else "There is no table yet: run `make demo`, or name another store by `root=` or "
            "the environment variable RFM_STORE_ROOT."
        )
        super().__init__(f"no table {table!r} below {root}. {hint}")
        self.table, self.root, self.available = table, root, tuple(available)


class InvalidDefinition(RfmError):
    """A definition in YAML that cannot be read, or that is wrong in itself.

    `key` is the configuration key that named it; `file` is None for an inline one, whose problems
    then carry their path below that key instead of a line.
    """

    def __init__(
        self, name: str, *, problems: Sequence[YamlProblem], file: str | None, key: str
    ) -> None:
        lines: list[str] = []
        for line, path, message in problems:
            if file is None:
                place = f"{key}.{path}" if path and not path.startswith("[") else key + path
            else:
                place = file if line is None else f"{file}:{line}"
                place += f" `{path}`" if path else ""
            lines.append(f"{place}: {message}")
        super().__init__("\n".join(lines))
        first = problems[0].key
        self.key = key if file is not None or not first else f"{key}.{first}"
        self.name, self.problems, self.file = name, tuple(problems), file


class InvalidScheme(InvalidDefinition):
    """A segment scheme or decision table that cannot be read, or that does not decide all."""


class UnknownDefinition(RfmError):
    """A definition that is neither packaged nor a file."""

    noun = "definition"

    def __init__(self, name: str, *, packaged: Sequence[str], key: str) -> None:
        super().__init__(
            f"{key}: {name!r} is neither a packaged {self.noun} nor a file that exists. "
            f"{did_you_mean(name, packaged)} Or give the path of a YAML file, or the {self.noun} "
            "itself as a mapping."
        )
        self.name, self.packaged, self.key = name, tuple(packaged), key


class UnknownScheme(UnknownDefinition):
    """A segment scheme that is neither packaged nor a file."""

    noun = "scheme"


class InvalidProfile(InvalidDefinition):
    """An industry profile that cannot be read, or whose names, kinds or units do not fit."""


class UnknownProfile(UnknownDefinition):
    """An industry profile that is neither packaged nor a file."""

    noun = "industry profile"


class InvalidDestination(InvalidDefinition):
    """A destination of campaign lists that cannot be read, or whose fields do not fit together."""


class UnknownDestination(UnknownDefinition):
    """A destination that is neither packaged nor a file."""

    noun = "destination"


class LedgerUnusable(RfmError):
    """The ledger of what destinations have cannot be read or written, so that nothing is sent."""

    def __init__(self, *, place: str, reason: str) -> None:
        super().__init__(
            f"{place}: {reason}. Nothing is sent without a ledger. Correct its URL, or free space "
            "there, and send again."
        )
        self.place, self.reason = place, reason


class LedgerBusy(RfmError):
    """Somebody else sends by the same ledger at this moment."""

    def __init__(self, *, place: str) -> None:
        super().__init__(
            f"{place}: another `rfm send` is at work by this ledger. Wait until it has finished."
        )
        self.place = place


class DeliveryStopped(RfmError):
    """A destination that refuses requests or does not answer; what it accepted is kept."""

    def __init__(self, *, destination: str, what: str, fix: str) -> None:
        super().__init__(f"{destination} {what}. {fix}")
        self.destination, self.what = destination, what


class AlertNotDelivered(RfmError):
    """A place for alerts that did not take a message, or of which that is not known."""

    def __init__(self, *, destination: str, what: str, fix: str) -> None:
        super().__init__(f"{destination} {what}. {fix}")
        self.destination, self.what = destination, what


class InvalidProject(RfmError):
    """A project whose configuration files are not all valid: everything wrong in all of them."""

    def __init__(self, *, invalid: Sequence[InvalidYaml]) -> None:
        super().__init__("\n" + "\n".join(str(error) for error in invalid))
        self.invalid = tuple(invalid)


class CutPointsUnusable(RfmError):
    """Frozen cut points that this run cannot score with."""

    def __init__(self, *, frozen_from: str, reason: str) -> None:
        super().__init__(
            f"cut_points: those of the snapshot of {frozen_from} {reason}. Name the date of a "
            "snapshot made with this scoring method, or set `cut_points: each_run`."
        )
        self.key, self.frozen_from = "cut_points", frozen_from


class AttributesClash(RfmError):
    """Customer attributes named like computed columns or like each other, whatever the case."""

    def __init__(self, *, columns: Sequence[str]) -> None:
        super().__init__(
            f"customer_data_asset_key: the attribute columns {', '.join(map(repr, columns))} have "
            "the names of computed columns or of each other (case does not tell them apart). "
            "Rename them in the asset, or leave them out."
        )
        self.key, self.columns = "customer_data_asset_key", tuple(columns)


class DuplicateCustomers(RfmError):
    """A table with one row per customer that has a customer twice."""

    def __init__(self, *, table: str, example: str) -> None:
        super().__init__(
            f"{table}: customer {example!r} has more than one row. Keep one row per customer_id."
        )
        self.table, self.example = table, example


class UnsupportedAnnotation(RfmError):
    """An asset's input is annotated with a type that no stored table is handed out as."""

    def __init__(self, *, annotation: object, table: str) -> None:
        super().__init__(
            f"the input from {table} is annotated with {annotation}, which no stored table can be "
            "handed out as. Annotate it with one of pandas.DataFrame, polars.DataFrame, "
            "polars.LazyFrame, pyarrow.Table, duckdb.DuckDBPyRelation, narwhals.LazyFrame or "
            "narwhals.DataFrame; or with dict[str, <one of these>] for several partitions by key; "
            "or with nothing for pandas."
        )
        self.annotation, self.table = annotation, table


class UnsupportedPartitions(RfmError):
    """Partitions that have no date of their own, so that no snapshot stands for one."""

    def __init__(self, *, asset: str, partitions: str) -> None:
        super().__init__(
            f"{asset}: partitions of the kind {partitions} have no date of their own, and the "
            "store keeps one snapshot per date. Partition it by days, weeks or longer, or let "
            "another IO manager store it, by the asset's `io_manager_key`."
        )
        self.asset, self.partitions = asset, partitions


class PartitionsNotSeparated(RfmError):
    """One frame is returned for several partitions."""

    def __init__(self, *, asset: str, keys: Sequence[str], given: Sequence[str] | None) -> None:
        what = "one table" if given is None else f"tables for {', '.join(given) or 'none'}"
        super().__init__(
            f"{asset}: this run computes the partitions {', '.join(keys)}, and {what} came back. "
            "Return a dict with one table per partition key."
        )
        self.asset, self.keys = asset, tuple(keys)


class RowsRefused(RfmError):
    """Rows that the policy says must not occur."""

    def __init__(self, *, reason: str, rows: int, places: Sequence[str]) -> None:
        super().__init__(
            f"transactions: {rows} rows with {reason}, first at {', '.join(places)}. The policy "
            f"says `{reason}: refuse`: correct the source, or set it to quarantine or drop."
        )
        self.reason, self.rows = reason, rows


class MixedCurrencies(RfmError):
    """Amounts in several currencies cannot be added up."""

    def __init__(self, *, rows_by_currency: Mapping[str, int], declared: str | None) -> None:
        found = ", ".join(f"{code} ({rows} rows)" for code, rows in rows_by_currency.items())
        beside = f", but `currency` is {declared}" if declared else ""
        super().__init__(
            f"transactions: the amounts are in {found}{beside}. Give `currency` and "
            "`exchange_rates`, or read one currency only."
        )
        self.rows_by_currency = dict(rows_by_currency)


class InvalidSettings(RfmError):
    """Keyword arguments that are no settings, or have values that are not allowed."""

    def __init__(self, *, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{key}: {text}" if key else text for key, text in problems))
        self.problems = tuple(problems)


class UnusableTransactions(RfmError):
    """Transactions given as a frame that are not clean enough to compute with."""

    def __init__(self, *, problems: Mapping[str, str]) -> None:
        listed = "; ".join(f"{column!r} is {problem}" for column, problem in problems.items())
        super().__init__(
            f"transactions: {listed}. Correct or leave out these rows, or read the source with a "
            "TransactionDataComponent, which sets such rows aside and counts them."
        )
        self.problems = dict(problems)


class SourceStale(RfmError):
    """A file that must be recent is not."""

    def __init__(self, *, source: str, age_days: float, max_age_days: int) -> None:
        super().__init__(
            f"{source}: was written {age_days:.1f} days ago, and {max_age_days} days are allowed. "
            "Nothing is published from it. Export it again, or raise `max_age_days`."
        )
        self.source, self.age_days = source, age_days


class AmountsTooLarge(RfmError):
    """Amounts whose sum could be beyond what is added up exactly."""

    def __init__(self, *, column: str, total: float, limit: float) -> None:
        super().__init__(
            f"transactions: `{column}` of the observation window adds up to {total:.3g} regardless "
            f"of sign, and sums are exact up to {limit:.3g}. Correct amounts that are too large, "
            "or give them in a larger unit, such as thousands."
        )
        self.column, self.total = column, total


class StorageUnusable(RfmError):
    """A folder or bucket that is full, read-only, no folder, or out of reach."""

    def __init__(
        self,
        *,
        path: str,
        reason: str,
        fix: str = "Free some space there, or let this user write and read it, or name another "
        "place; then run the partition again. The last good snapshot is kept.",
    ) -> None:
        super().__init__(f"{path} {reason}. {fix}")
        self.path, self.reason = path, reason


class OutOfMemory(RfmError):
    """The memory limit of the engine is too small for what it computes."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            f"DuckDB has too little memory: {reason}. Raise `memory_limit` of the deployment, or "
            "lower its `threads`, each of which needs some of it."
        )
        self.reason = reason


class TypesDiffer(RfmError):
    """A column that is of one type in some snapshots, and in others of one unlike it."""

    def __init__(self, *, table: str, column: str, types: Mapping[str, str]) -> None:
        listed = ", ".join(f"{kind} as of {as_of}" for kind, as_of in types.items())
        super().__init__(
            f"{table}: column {column!r} is {listed}, which do not follow each other in one "
            "column. Ask for a shorter range, for other `columns`, or for one date at a time."
        )
        self.table, self.column, self.types = table, column, dict(types)


class EngineUnavailable(RfmError):
    """An engine that is asked for and cannot be had here."""

    def __init__(self, *, engine: str, reason: str, fix: str) -> None:
        super().__init__(f"engine {engine}: {reason}. {fix}")
        self.engine, self.reason, self.fix = engine, reason, fix


class DatabaseUrlInvalid(RfmError):
    """An environment variable that should hold a database URL and does not. Its value is secret."""

    def __init__(self, *, variable: str, reason: str) -> None:
        super().__init__(
            f"the environment variable {variable} {reason}. Set it where the runs are started to "
            "`postgresql://user:password@host:5432/database`, with special characters of the "
            "password percent-encoded."
        )
        self.variable = variable


class DatabaseUnreachable(RfmError):
    """A database that cannot be connected to, or that is gone in the middle."""

    def __init__(self, *, place: str, reason: str, fix: str) -> None:
        super().__init__(f"{place} {reason}. {fix}")
        self.place, self.reason = place, reason


class DatabaseRefused(RfmError):
    """A database that refuses a statement. What was published before is still there."""

    def __init__(self, *, place: str, schema: str, reason: str, fix: str, state: str) -> None:
        super().__init__(
            f"{place}, schema {schema}: {reason} (SQLSTATE {state}). {fix}; then run it again. "
            "What was published before is unchanged."
        )
        self.place, self.schema, self.reason, self.state = place, schema, reason, state


class DatabaseBusy(RfmError):
    """Another session held a lock for longer than this one may wait."""

    def __init__(self, *, place: str, what: str, seconds: int) -> None:
        super().__init__(
            f"{place}: waited {seconds} s, because {what}. Run it again when that one is done, or "
            "raise `wait_seconds`. What was published before is unchanged."
        )
        self.place, self.what, self.seconds = place, what, seconds


class DatabaseRevisionUnknown(RfmError):
    """Tables made by a later release, which this one must not write to."""

    def __init__(self, *, place: str, schema: str, revision: str, newest: str) -> None:
        super().__init__(
            f"{place}, schema {schema}: its tables have revision {revision}, and this release "
            f"knows them up to {newest}. Upgrade rfm_assets here to the release that made them, "
            "or name another schema. Nothing was changed."
        )
        self.place, self.schema, self.revision = place, schema, revision


class SchemaUnpublished(RfmError):
    """A schema that holds no published tables."""

    def __init__(self, *, place: str, schema: str, available: Sequence[str]) -> None:
        others = f" {did_you_mean(schema, available)}" if available else ""
        super().__init__(
            f"{place}: schema {schema!r} holds no published tables.{others} Name another one, or "
            "publish to it first with a PublishToPostgresComponent."
        )
        self.place, self.schema, self.available = place, schema, tuple(available)


class ColumnUnpublishable(RfmError):
    """A carried column that a Postgres table cannot have as it is."""

    def __init__(self, *, table: str, column: str, reason: str, fix: str) -> None:
        super().__init__(f"{table}: column {column!r} {reason}. {fix}")
        self.table, self.column, self.reason = table, column, reason


class TableTaken(RfmError):
    """Two stored tables of one kind would share one Postgres table."""

    def __init__(self, *, table: str, schema: str, source: str, owner: str) -> None:
        super().__init__(
            f"{source}: {schema}.{table} holds the rows of {owner}, and a schema has one table of "
            f"this kind. Publish {source} to a schema of its own. If {owner} is no longer "
            f"published, delete its rows from {schema}.{table} and {schema}.published_snapshots."
        )
        self.table, self.schema, self.source, self.owner = table, schema, source, owner


class KindUnpublishable(RfmError):
    """A stored table that no contract describes."""

    def __init__(self, *, table: str, kind: str, available: Sequence[str]) -> None:
        super().__init__(
            f"published_asset_keys: {table!r} is of the kind {kind!r}, which has no contract and "
            f"so no table in Postgres. Kinds that have: {', '.join(available)}."
        )
        self.key, self.table, self.kind = "published_asset_keys", table, kind


class RowsInPlace(RfmError):
    """Stored files are asked for of a table whose rows stay in the files of its source."""

    def __init__(self, *, table: str) -> None:
        super().__init__(
            f"{table} has no stored rows: it reads its source's files in place. Set "
            "`in_place: false` there to store them."
        )
        self.table = table


class NotEnoughCustomers(RfmError):
    """Too few customers to learn anything from."""

    def __init__(self, *, what: str, found: int, needed: int, key: str) -> None:
        super().__init__(
            f"there are {found:,} {what}, and {needed:,} are needed. Wait for more data, read a "
            f"longer history, or lower `{key}` if you know what you do. Nothing was published."
        )
        self.found, self.needed, self.key = found, needed, key


class ModelDidNotConverge(RfmError):
    """A model whose parameters cannot be estimated from these data."""

    def __init__(self, *, model: str, reason: str) -> None:
        super().__init__(
            f"{model} did not converge: {reason}. These data do not tell its parameters apart; a "
            "longer history may. Nothing was published."
        )
        self.model, self.reason = model, reason


class ColumnsNotRecognised(RfmError):
    """A file in which no column is likely to be what every transaction must have."""

    def __init__(
        self,
        *,
        source: str,
        missing: Sequence[str],
        available: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        listed = ", ".join(repr(column) for column in available)
        why = f" {' '.join(notes)}" if notes else ""
        super().__init__(
            f"{source}: no column was recognised as {' or '.join(missing)}.{why} Name it yourself "
            f"under `columns`. There are {listed}."
        )
        self.source, self.missing, self.available = source, tuple(missing), tuple(available)


class NothingToAnalyze(RfmError):
    """A file whose rows, as they were read, leave no customer to segment."""

    def __init__(self, *, source: str, reason: str, examples: Sequence[str], fix: str) -> None:
        listed = "".join(f"\n- {example}" for example in examples)
        super().__init__(f"{source}: {reason}.{listed}{chr(10) if listed else ' '}{fix}")
        self.source, self.examples = source, tuple(examples)


class TooManySetAside(NothingToAnalyze):
    """So many rows of a file are set aside that a check refuses what is left."""


class RolesMissing(RfmError):
    """The same as `ColumnsNotRecognised`, for whoever names columns by options."""

    def __init__(
        self,
        *,
        source: str,
        options: Mapping[str, str],
        available: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        listed = ", ".join(repr(column) for column in available)
        why = f" {' '.join(notes)}" if notes else ""
        named = " and ".join(f"{option} COLUMN" for option in options)
        super().__init__(
            f"{source}: no column was recognised as {' or '.join(options.values())}.{why} Name it "
            f"with {named}. There are {listed}."
        )
        self.source, self.options, self.available = source, dict(options), tuple(available)


class MappingDoubtful(RfmError):
    """Columns that are proposed for what every transaction must have, but not surely enough."""

    def __init__(self, *, source: str, roles: Mapping[str, tuple[str, str, float]]) -> None:
        guesses = ", ".join(
            f"{role} is {column}, perhaps ({confidence:.2f})"
            for role, (_, column, confidence) in roles.items()
        )
        options = " ".join(f"{option} {column!r}" for option, column, _ in roles.values())
        super().__init__(
            f"{source}: not sure enough what is what: {guesses}. If that is right, say so: "
            f"{options}; or name another column."
        )
        self.source, self.roles = source, dict(roles)


class ErasureKeyMissing(RfmError):
    """Who was erased can only be recognised with the key, and it is not there or another one."""

    def __init__(self, *, variable: str, reason: str) -> None:
        super().__init__(
            f"{variable}: {reason}. The register of erased customers holds only keyed hashes: "
            f"without the key nobody can be recognised. Set {variable} to a secret of at least 32 "
            "characters, the same wherever this store is written."
        )
        self.variable = variable


class ErasedInPlace(RfmError):
    """Rows that are read in place hold customers who were erased."""

    def __init__(self, *, source: str, customers: int) -> None:
        super().__init__(
            f"{source}: the files, which are read in place, hold {customers} customers who were "
            "erased, and nothing here writes them. Take their rows out of the files, or remove "
            "`in_place`, so that the rows are copied without them."
        )
        self.source, self.customers = source, customers
