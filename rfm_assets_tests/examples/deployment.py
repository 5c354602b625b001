"""The Online Retail deployment, loaded and run as it stands, into a store of the test's own."""

import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from rfm_assets import load_table
from rfm_assets.definitions import load_project

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "online_retail"
MODULE = "online_retail"
JOB = "weekly_refresh"
TABLES = (
    "customer_segments",
    "segment_movement",
    "segment_summary",
    "suppression_list",
    "champions",
    "win_back",
)


class Deployment:
    """The project in `folder`, over one CSV file, with its tables in `store` or where it says."""

    def __init__(self, csv: Path, store: Path | None = None, *, folder: Path = PROJECT) -> None:
        self.csv, self.store, self.folder = csv, store, folder

    def load(self) -> dg.Definitions:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RFM_ONLINE_RETAIL", str(self.csv))
            patch.setenv("RFM_STORE_ROOT", str(self.store or ""))
            patch.syspath_prepend(self.folder)
            forget_modules()
            return load_project(self.folder)

    def run(self, weeks: Sequence[str]) -> dg.ExecuteInProcessResult:
        """One run of the weekly job, from the first of the weeks to the last."""
        return (
            self.load()
            .resolve_job_def(JOB)
            .execute_in_process(
                instance=dg.DagsterInstance.ephemeral(),
                tags={
                    "dagster/asset_partition_range_start": weeks[0],
                    "dagster/asset_partition_range_end": weeks[-1],
                },
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )

    def table(self, name: str, as_of: str = "latest", part: str = "rows") -> pd.DataFrame:
        return load_table(name, as_of, root=self.store, part=part)


def forget_modules() -> None:
    """Python keeps modules; a copy of the project elsewhere has one of the same name."""
    for name in [name for name in sys.modules if name.split(".")[0] == MODULE]:
        del sys.modules[name]
