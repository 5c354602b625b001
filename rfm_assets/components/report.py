"""`ReportComponent`: one HTML file a week for people who open neither Dagster nor a database."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, ClassVar

import dagster as dg
from pydantic import AfterValidator, Field

from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.behavior_analysis import BehaviorAnalysisComponent
from rfm_assets.components.behavioral_segments import BehavioralSegmentsComponent
from rfm_assets.components.campaign_list import CampaignListComponent
from rfm_assets.components.churn_aware_segments import ChurnAwareSegmentationComponent
from rfm_assets.components.churn_scores import ChurnScoresComponent
from rfm_assets.components.execution import Delivered, Week, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.lifetime_value import LifetimeValueComponent
from rfm_assets.components.segment_movement import SegmentMovementComponent
from rfm_assets.components.segment_summary import SegmentSummaryComponent
from rfm_assets.components.segment_validation import SegmentValidationComponent
from rfm_assets.store import table_name

SHOWN = (
    SegmentSummaryComponent,
    SegmentMovementComponent,
    CampaignListComponent,
    BehavioralSegmentsComponent,
    BehaviorAnalysisComponent,
    ChurnAwareSegmentationComponent,
    ChurnScoresComponent,
    LifetimeValueComponent,
    SegmentValidationComponent,
)
"""Components whose tables a report shows, so that it waits for them."""


def below_the_project(folder: str) -> str:
    """The folder, if it is one below the project."""
    path = PurePath(folder)
    if path.is_absolute() or ".." in path.parts:
        message = f"{folder!r} leaves the project. Write a folder below it, such as data/reports."
        raise ValueError(message)
    return folder


class ReportComponent(RfmComponent):
    """A report of each week's segments: one HTML file that needs nothing else."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "segment_report",
        "customer_segments_asset_key": "customer_segments",
    }

    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Segments that are reported on."
    )
    report_folder: Annotated[str, AfterValidator(below_the_project)] = Field(
        default="data/reports",
        min_length=1,
        description="Folder of the files, below the project; they are called "
        "`<asset>_<as_of>.html`.",
    )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        segments = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        spec = self.asset_spec(
            context,
            description=f"Report of the week's segments as one HTML file in `{self.report_folder}`: "
            "findings, charts and tables. It waits for every table that it shows.",
            group_name="applications",
            deps=[segments, *self._shown(context)],
            kinds=["html"],
            metadata={"folder": self.report_folder},
        )
        folder = Path(context.project_root) / self.report_folder

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Delivered]:
            target = folder / f"{table_name(self.key.path)}_{week.day}.html"
            self._write(target, Path(context.project_root), inputs, segments, week)
            run.log.info("%s", target)
            return {self.key: Delivered((), _described(target))}

        return publishing_assets(self, context, specs=[spec], checks=[], work=work)

    def _shown(self, context: dg.ComponentLoadContext) -> Iterator[dg.AssetKey]:
        """The project's tables of the same weeks that are not about other segments."""
        for component in context.component_tree.get_all_components(RfmComponent):
            if not isinstance(component, SHOWN) or component.refresh != self.refresh:
                continue
            about = getattr(component, "customer_segments_asset_key", None)
            if about in {None, self.customer_segments_asset_key}:
                yield component.key

    @staticmethod
    def _write(
        target: Path, project: Path, inputs: Inputs, segments: dg.AssetKey, week: Week
    ) -> None:
        # Imported here because plotly takes a second, which loading the project need not wait for.
        from rfm_assets.serving.queries import Queries
        from rfm_assets.serving.report import write_report
        from rfm_assets.serving.settings import load_settings

        settings = load_settings(project)
        queries = Queries(
            inputs.store, organization=settings.organization, memory_limit=settings.memory_limit
        )
        try:
            write_report(queries, inputs.snapshot(segments, week.day), target, settings=settings)
        finally:
            queries.close()


def _described(target: Path) -> dict[str, dg.MetadataValue]:
    """What Dagster shows of a report: where it is, how large, and a link."""
    return {
        "path": dg.MetadataValue.path(target),
        "size_bytes": dg.MetadataValue.int(target.stat().st_size),
        "link": dg.MetadataValue.url(target.absolute().as_uri()),
    }
