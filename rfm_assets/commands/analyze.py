"""`rfm analyze`: segments, lifetime value and files from one file of orders, without a project."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

import typer

from rfm_assets.commands.project import is_project
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.errors import (
    InvalidAsOf,
    InvalidConfig,
    MappingDoubtful,
    RolesMissing,
    SourceUnreadable,
    did_you_mean,
)

if TYPE_CHECKING:
    from rfm_assets.analysis import Analysis, Request
    from rfm_assets.serving.analysis_files import OutFormat
    from rfm_assets.sources.given import Given
    from rfm_assets.sources.suggestion import Suggestion

Row: TypeAlias = dict[str, Any]


def analyze(  # noqa: PLR0917  one argument and options
    file: Annotated[
        str, typer.Argument(help="File of orders: CSV, plain or gzip; an Excel workbook; Parquet.")
    ],
    customer: Annotated[str | None, typer.Option(help="Column that tells customers apart.")] = None,
    order: Annotated[
        str | None, typer.Option(help="Column that groups lines into a purchase.")
    ] = None,
    date_column: Annotated[
        str | None, typer.Option("--date", metavar="COLUMN", help="Column with the day or time.")
    ] = None,
    amount: Annotated[
        str | None,
        typer.Option(
            metavar="EXPRESSION",
            help="Column with the amount, or an expression such as 'Quantity * UnitPrice'.",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Date to describe; by default the day after the newest usable row."
        ),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=36_500, help="Length of the observation window in days.")
    ] = 365,
    scheme: Annotated[
        str, typer.Option(help="Segment scheme: rfm_10, rfm_11, or the path of a YAML file.")
    ] = "rfm_10",
    scoring: Annotated[
        str, typer.Option(help="Where cut points come from: quintiles, quartiles or deciles.")
    ] = "quintiles",
    date_format: Annotated[
        list[str] | None,
        typer.Option(help="How dates are written, such as %d.%m.%Y; repeat it for several."),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(metavar="SIGN", help="Decimal separator: . or ,")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="SIGN", help="What stands between two values of a CSV.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a CSV, such as utf-8 or cp1252.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook.")] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where the store and the files go; by default a folder called like the file, "
            "with -analysis behind it. With --suggest the YAML file, or a folder for it.",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Of csv, excel and html, separated by commas, or repeat it; by default all.",
        ),
    ] = None,
    *,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document, and nothing else on stdout.")
    ] = False,
    suggest_only: Annotated[
        bool, typer.Option("--suggest", help="Only propose the columns, as YAML of a component.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Analyse a file of orders: segments, lifetime value, a report."""
    from rfm_assets.analysis import TABLES
    from rfm_assets.commands.analysis_view import (
        document,
        exit_codes,
        progress,
        show_analysis,
        show_proposal,
    )
    from rfm_assets.serving.analysis_files import files_of, replaced
    from rfm_assets.sources.given import Given

    given = Given(
        customer=customer,
        order=order,
        date=date_column,
        amount=amount,
        date_formats=tuple(date_format or ()),
        decimal=decimal,
        delimiter=delimiter,
        encoding=encoding,
        sheet=sheet,
    )
    with exit_codes(file):
        found = _proposed(file, given)
        if suggest_only:
            _suggest(found, out_folder)
            return
        if not quiet:
            # Beside a document for programs, what is for people goes elsewhere.
            show_proposal(found, err if json_output else out)
        _require_sure(found)
        request = _request(found, as_of, days, scheme, scoring)
        folder = out_folder or Path(f"{_stem(file)}-analysis")
        chosen = _formats(formats)
        with replaced(folder, TABLES) as staging, progress(quiet=quiet) as say:
            done, rows = _computed(request, staging, chosen, say)
        if json_output:
            files = files_of(folder)
            given_day = request.as_of is not None
            said = document(done, found, rows, files, _settings(request), as_of_given=given_day)
            print_json(said)
        elif not quiet:
            how = "as given" if request.as_of else "the day after the newest usable row"
            show_analysis(done, rows, files_of(folder), out, how)


def _proposed(file: str, given: Given) -> Suggestion:
    from rfm_assets.sources.given import proposed, without_weak_order

    path = Path(file)
    if path.is_dir():
        raise SourceUnreadable(
            source=file,
            reason="it is a folder",
            fix=f"Name a file in it, or several of one kind by a pattern such as '{path}/*.csv'.",
        )
    return without_weak_order(proposed(file, given, root=Path.cwd()))


def _require_sure(found: Suggestion) -> None:
    """Raise if a role that every transaction must have is missing, or a guess."""
    from rfm_assets.sources.given import OPTIONS, doubtful

    if found.missing:
        raise RolesMissing(
            source=str(found.source.path),
            options={OPTIONS[role]: role for role in found.missing},
            available=found.available,
            notes=found.notes,
        )
    guesses = doubtful(found)
    if guesses:
        raise MappingDoubtful(
            source=str(found.source.path),
            roles={one.role: (OPTIONS[one.role], one.column, one.confidence) for one in guesses},
        )


def _suggest(found: Suggestion, target: Path | None) -> None:
    from dataclasses import replace

    from rfm_assets.failures import storage

    if found.missing:
        _require_sure(found)
    path = str(found.source.path)
    if not is_project(Path.cwd()) and "://" not in path:
        # A component's paths start at its project, wherever that will be.
        path = str(Path(path).resolve())
        found = replace(found, source=found.source.model_copy(update={"path": path}))
    text = found.yaml()
    if target is None:
        out.print(text, end="", soft_wrap=True)
        return
    if target.suffix not in {".yaml", ".yml"}:
        target /= "defs.yaml"
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    err.print(f"Written: {target}")


def _request(found: Suggestion, as_of: str | None, days: int, scheme: str, scoring: str) -> Request:
    from pydantic import ValidationError

    from rfm_assets.analysis import Request
    from rfm_assets.domain.scoring import SCORING_METHODS
    from rfm_assets.domain.segments import SegmentationConfig
    from rfm_assets.library import load_scheme

    try:
        config = SegmentationConfig(
            analysis_period_days=days, scoring_method=scoring, segment_scheme=scheme
        )
    except ValidationError as error:
        raise InvalidConfig(
            key="--scoring",
            value=scoring,
            reason="cannot be used here",
            fix=did_you_mean(scoring, [m for m in SCORING_METHODS if m not in {"bins", "custom"}]),
        ) from error
    try:
        day = None if as_of is None else date.fromisoformat(as_of)
    except ValueError as error:
        raise InvalidAsOf(given=as_of) from error
    # Attributes are worth keeping in a deployment; here nothing asks for them.
    columns = found.mapping().model_copy(update={"attributes": {}})
    return Request(found.source, columns, config, load_scheme(scheme, key="--scheme"), day)


def _formats(given: list[str] | None) -> list[OutFormat]:
    from rfm_assets.serving.analysis_files import OutFormat

    known: tuple[OutFormat, ...] = get_args(OutFormat)
    asked = [name.strip() for text in given or known for name in text.split(",")]
    for name in asked:
        if name not in known:
            raise InvalidConfig(
                key="--format", value=name, reason="is no format", fix=did_you_mean(name, known)
            )
    return [name for name in known if name in asked]


def _stem(file: str) -> str:
    name = Path(file).name
    return re.sub(r"(\.\w+){1,2}$", "", name).strip("*?[]") or "orders"


def _computed(
    request: Request, staging: Path, formats: list[OutFormat], say: Callable[[str], object]
) -> tuple[Analysis, list[Row]]:
    """Everything into a folder of its own; the analysis and its summary."""
    from rfm_assets.analysis import MEMORY_LIMIT
    from rfm_assets.analysis import analyze as computed
    from rfm_assets.serving.analysis_files import STORE, Tables, write_files
    from rfm_assets.serving.queries import Queries
    from rfm_assets.store import Store

    store = Store(staging / STORE)
    done = computed(request, root=Path.cwd(), store=store, now=datetime.now(UTC), say=say)
    say("Writing")
    queries = Queries(store, memory_limit=MEMORY_LIMIT)
    try:
        tables = Tables(done.segments, done.summary, done.rejects, done.value)
        about = {"file": done.source, **_settings(request), "as_of": done.as_of}
        about |= {"rows read": done.counts.rows_in, "rows used": done.counts.rows_kept}
        about |= {"lifetime value": done.value_skipped or "in the sheet customers"}
        write_files(queries, tables, staging, formats, about)
        rows = sorted(queries.whole(done.summary), key=lambda row: -row["customers"])
    finally:
        queries.close()
    return done, rows


def _settings(request: Request) -> dict[str, object]:
    columns = request.columns.model_dump(exclude={"attributes"})
    return {
        "days": request.config.analysis_period_days,
        "scheme": request.scheme.reference,
        "scoring": request.config.scoring_method,
        **{name: column for name, column in columns.items() if column is not None},
    }
