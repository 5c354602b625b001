"""How every component's asset runs: week by week, each published or refused as a whole.

One op handles one week or a backfill of many. What a week's table is made of is the component's
`work`; here its checks become Dagster check results, its figures become metadata of its own
partition, and a week that fails stops the run while the weeks before it stay published.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import stored_schema
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.resources import EngineResource, StoreResource
from rfm_assets.errors import (
    InvalidConfig,
    InvalidExpression,
    RfmError,
    UnknownSegment,
    ValidationFailed,
)
from rfm_assets.publishing import Publication
from rfm_assets.schemas import TableContract
from rfm_assets.store import table_name
from rfm_assets.validation import CheckOutcome, described_checks

Metadata = Mapping[str, dg.MetadataValue | str | int | float]


@dataclass(frozen=True)
class Week:
    """One unit of work: the date to describe and the partition it belongs to, if any."""

    as_of: date | None
    partition_key: str | None = None

    @property
    def label(self) -> str:
        return str(self.as_of) if self.as_of is not None else "all dates"

    @property
    def day(self) -> date:
        """`as_of` of a table that has dates."""
        if self.as_of is None:
            raise ValueError("a table with dates needs an as_of")
        return self.as_of


@dataclass(frozen=True)
class Published:
    """What a component's work hands back for one week and one asset."""

    publication: Publication
    metadata: Metadata

    @property
    def outcomes(self) -> Sequence[CheckOutcome]:
        return self.publication.outcomes


@dataclass(frozen=True)
class Delivered:
    """What is handed back instead where a week's tables went elsewhere than into the store."""

    outcomes: Sequence[CheckOutcome]
    metadata: Metadata


Done = Mapping[dg.AssetKey, Published | Delivered]

CONFIGURATION_ERRORS = (InvalidConfig, InvalidExpression, UnknownSegment)
"""What is wrong in the YAML even where the error names no key of it."""

Work = Callable[[dg.AssetExecutionContext, Week, Inputs], Done]
"""Computes and publishes one week: the run, the week, and what may be read."""


def publishing_assets(
    component: RfmComponent,
    context: dg.ComponentLoadContext,
    *,
    specs: Sequence[dg.AssetSpec],
    checks: Sequence[dg.AssetCheckSpec],
    work: Work,
    partitioned: bool = True,
) -> dg.Definitions:
    """The assets of `specs`, computed by one op that publishes `work`'s tables week by week.

    Without partitions (`partitioned=False`) there is one unit of work, without a date.
    """

    def placed(run: dg.AssetExecutionContext, week: Week, inputs: Inputs) -> Done:
        try:
            return work(run, week, inputs)
        except RfmError as error:
            if not isinstance(error, CONFIGURATION_ERRORS) and not getattr(error, "key", ""):
                raise
            # Only the data could show that the YAML is wrong; it is told with file and line still.
            with component.placing_errors():
                raise

    @dg.multi_asset(
        name=table_name(component.key.path),
        specs=specs,
        check_specs=checks,
        # Both tables of a component are always published; a run may ask for one of them.
        can_subset=len(specs) > 1,
        **component.op_settings(context, partitioned=partitioned),
    )
    def _publish(
        context: dg.AssetExecutionContext, rfm_store: StoreResource, rfm_engine: EngineResource
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult | dg.AssetMaterialization]:
        weeks = [Week(None)]
        if partitioned:
            weeks = [Week(as_of, key) for key, as_of in component.as_of_dates(context)]
        yield from run_weeks(
            context,
            weeks,
            rfm_store,
            rfm_engine,
            lambda week, inputs: placed(context, week, inputs),
        )

    return dg.Definitions(assets=[_publish])


def run_weeks(
    context: dg.AssetExecutionContext,
    weeks: Sequence[Week],
    store: StoreResource,
    engine: EngineResource,
    work: Callable[[Week, Inputs], Done],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult | dg.AssetMaterialization]:
    """Publish each week in order and yield the check results, then the materialisations.

    `work` gets the week and what it may read, with an engine that is emptied after each week.
    Yields one result per check over all weeks: it fails if it failed in any week, and its text
    is that of the first such week. Whatever stops a week, the weeks before it are recorded as
    materialised first.

    Raises:
        dg.Failure: A week is refused, or fails with an error of this package. It is not tried
            again where its rows were refused, because they would be again.
    """
    outcomes: dict[dg.AssetKey, list[tuple[Week, CheckOutcome]]] = {}
    done: list[tuple[Week, Done]] = []
    with engine.yield_engine() as opened:
        for position, week in enumerate(weeks, start=1):
            if len(weeks) > 1:
                context.log.info("%s of %s: as of %s", position, len(weeks), week.label)
            try:
                published = work(week, Inputs(store.get_store(), opened))
                for key, one in published.items():
                    outcomes.setdefault(key, []).extend((week, o) for o in one.outcomes)
                done.append((week, published))
                opened.clear()
            except BaseException as error:  # A run that is terminated has published weeks, too.
                if isinstance(error, ValidationFailed):
                    key = _key_of(context, error.table)
                    outcomes.setdefault(key, []).extend((week, o) for o in error.outcomes)
                # What is logged and not yielded is lost with the step, so these are yielded.
                yield from _materialised(done)
                yield from _asked(context, _check_results(outcomes, len(weeks)))
                if not isinstance(error, RfmError):
                    raise
                raise dg.Failure(
                    description=str(error),
                    metadata={"as_of": week.label, "weeks published before": len(done)},
                    allow_retries=not isinstance(error, ValidationFailed),
                ) from error
    results = list(_asked(context, _check_results(outcomes, len(weeks))))
    made = list(_selected(context, done[-1][1])) if done else []
    for key in made:
        for week, published in done:
            if week.partition_key is not None:
                context.add_asset_metadata(
                    dict(_metadata(published[key])), asset_key=key, partition_key=week.partition_key
                )
        unpartitioned = done[-1][0].partition_key is None
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=_metadata(done[-1][1][key]) if unpartitioned else None,
            # Reported after the materialisation, so that Dagster shows them as judging it.
            check_results=[result for result in results if result.asset_key == key],
        )
    yield from (result for result in results if result.asset_key not in made)


def _selected(
    context: dg.AssetExecutionContext, keys: Iterable[dg.AssetKey]
) -> Iterator[dg.AssetKey]:
    return (key for key in keys if key in context.selected_asset_keys)


def _asked(
    context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results that this run reports; a user may have deselected the others."""
    for result in results:
        key = dg.AssetCheckKey(dg.AssetKey.from_coercible(result.asset_key), result.check_name)
        if key in context.selected_asset_check_keys:
            yield result


def check_specs(
    asset: dg.AssetKey,
    contract: TableContract,
    rules: Iterable[str],
) -> list[dg.AssetCheckSpec]:
    """Specs of the checks that `run_weeks` will report on `asset`.

    Those of the contract, which all block, and the named rules of `quality/`. They have no
    partitions: a backfill of many weeks is one run with one result per check, which Dagster
    cannot spread over partitions and would show as skipped.
    """
    described = {name: f"Blocks: {text}" for name, text in described_checks(contract).items()}
    described |= {name: quality.DESCRIPTIONS[name] for name in rules}
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=asset,
            description=text,
            blocking=text.startswith("Blocks"),
        )
        for name, text in described.items()
    ]


def _key_of(context: dg.AssetExecutionContext, table: str) -> dg.AssetKey:
    """The asset that a refused table belongs to."""
    for key in context.assets_def.keys:
        if table_name(key.path) == table:
            return key
    return next(iter(context.assets_def.keys))


def _materialised(
    done: Sequence[tuple[Week, Done]],
) -> Iterator[dg.AssetMaterialization]:
    """What tells Dagster of weeks that are published although the run will fail."""
    for week, published in done:
        for key, one in published.items():
            yield dg.AssetMaterialization(
                asset_key=key, partition=week.partition_key, metadata=dict(_metadata(one))
            )


def _metadata(one: Published | Delivered) -> Metadata:
    if isinstance(one, Delivered):
        return one.metadata
    manifest = one.publication.snapshot.manifest
    counts = {f"rows in {part}": n for part, n in manifest.row_counts.items() if part != "rows"}
    return {
        "dagster/row_count": manifest.row_counts["rows"],
        "dagster/column_schema": dg.MetadataValue.table_schema(
            stored_schema(one.publication.contract, one.publication.schema)
        ),
        **one.metadata,
        **counts,
        "snapshot version": manifest.version,
        **({"configuration": manifest.config_hash} if manifest.config_hash else {}),
    }


def _check_results(
    outcomes: Mapping[dg.AssetKey, Sequence[tuple[Week, CheckOutcome]]], weeks: int
) -> Iterator[dg.AssetCheckResult]:
    for key, seen in outcomes.items():
        names = dict.fromkeys(outcome.name for _, outcome in seen)
        for name in names:
            mine = [(week, outcome) for week, outcome in seen if outcome.name == name]
            failed = [(week, outcome) for week, outcome in mine if not outcome.passed]
            blocking = [(w, o) for w, o in failed if o.blocking]
            week, shown = (blocking or failed or mine)[0 if failed else -1]
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=not failed,
                severity=dg.AssetCheckSeverity.ERROR
                if blocking or shown.blocking
                else dg.AssetCheckSeverity.WARN,
                description=_text(week, shown, len(failed), weeks),
                metadata={
                    "observed": shown.observed,
                    "expected": shown.expected,
                    **({"next step": shown.next_step or "none"} if failed else {}),
                    "as of": week.label,
                    **({"failing weeks": [w.label for w, _ in failed]} if failed else {}),
                    **({"examples": list(shown.sample)} if shown.sample else {}),
                },
            )


def _text(week: Week, outcome: CheckOutcome, failed: int, weeks: int) -> str:
    where = f"As of {week.label}: " if weeks > 1 else ""
    if outcome.passed:
        return f"{where}{outcome.observed}"
    several = f" (failed in {failed} of {weeks} weeks)" if failed > 1 else ""
    return (
        f"{where}observed {outcome.observed}; expected {outcome.expected}.{several} "
        f"Next: {outcome.next_step}"
    )
