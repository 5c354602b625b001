"""`rfm generate`: made-up data to try things with, as CSV files.

What is made up is in `domain/churn_generator.py` and `domain/behavior_generator.py`.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Made-up data to try things with, as CSV files.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")]


@app.callback()
def generate() -> None:
    """Made-up data to try things with, as CSV files."""


@app.command()
def churn_scores(
    file: Annotated[Path, typer.Argument(help="CSV file to write; one that is there is replaced.")],
    table: Annotated[str, typer.Option(help="Stored segments whose customers get a score.")] = (
        "customer_segments"
    ),
    as_of: Annotated[str, typer.Option(help="Date of the snapshot, or latest.")] = "latest",
    root: Annotated[
        str | None, typer.Option(help="Root of the store; by default the project's.")
    ] = None,
    seed: Seed = 1,
) -> None:
    """A churn score for every customer of stored segments: 45 % low, 30 % medium, 18 % high."""
    import narwhals as nw

    from rfm_assets.domain.churn_generator import synthetic_churn_scores
    from rfm_assets.loading import load_table

    customers = load_table(table, as_of, root=root, kind="pyarrow")
    scores = synthetic_churn_scores(nw.from_native(customers).lazy(), seed=seed)
    _write(file, ["customer_id", "churn_score"], scores)


@app.command()
def behavior(  # noqa: PLR0917  two arguments and options
    industry: Annotated[str, typer.Argument(help="banking, telecom, ecommerce or fuel_retail.")],
    folder: Annotated[
        Path, typer.Argument(help="Folder for transactions.csv, events.csv and planted.csv.")
    ],
    customers: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 1_000,
    until: Annotated[
        str | None, typer.Option(help="First day without rows, such as 2026-06-01; default today.")
    ] = None,
    leavers: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the customers who have left.")
    ] = 0.15,
    seed: Seed = 1,
) -> None:
    """Four months of events and transactions of an industry, and which signals were planted."""
    from rfm_assets.domain.behavior_generator import INDUSTRIES, generate_behavior
    from rfm_assets.errors import InvalidConfig, did_you_mean
    from rfm_assets.library import load_profile

    if industry not in INDUSTRIES:
        raise InvalidConfig(
            key="industry",
            value=industry,
            reason="is no industry that data can be made up for",
            fix=did_you_mean(industry, INDUSTRIES),
        )
    end = _day(until)
    made = generate_behavior(industry, customers=customers, seed=seed, leavers=leavers)
    profile = load_profile(industry)
    folder.mkdir(parents=True, exist_ok=True)
    own = ["customer_id", "order_id", "paid_at", "amount"]
    _write(
        folder / "transactions.csv",
        [*own, *profile.transactions],
        _dated(made.transactions, "paid_at", end, [*own, *profile.transactions]),
    )
    own = ["customer_id", "happened_at", "event"]
    _write(
        folder / "events.csv",
        [*own, *profile.events],
        _dated(made.events, "happened_at", end, [*own, *profile.events]),
    )
    told = dict.fromkeys(made.newcomers, "new") | dict.fromkeys(made.leavers, "left")
    rows = [(name, signal, told.get(name, "")) for name, signal in made.planted.items()]
    _write(folder / "planted.csv", ["customer_id", "signal", "remark"], rows)


def _day(text: str | None) -> date:
    from rfm_assets.errors import InvalidConfig

    try:
        return datetime.now(UTC).date() if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidConfig(
            key="--until", value=text, reason="is no date", fix="Write one as 2026-06-01."
        ) from error


def _dated(
    rows: Iterable[Mapping[str, Any]], name: str, end: date, columns: Sequence[str]
) -> list[list[Any]]:
    """The rows with a date in place of the days before the end, oldest first."""
    made = [{**row, name: (end - timedelta(days=row["day"])).isoformat()} for row in rows]
    made.sort(key=lambda row: (row[name], row["customer_id"]))
    return [[row.get(column) for column in columns] for row in made]


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            written += 1
    typer.echo(f"{file}: {written:,} rows")
