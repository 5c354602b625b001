"""`python -m benchmarks.learned`: what features and behaviour cost, beside the RFM aggregate.

Rounds alternate, because machines are noisy; what counts is the ratio within a round. Writes the
figures as data. What is measured is in `tasks.py`, how in `measured.py`.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.heavy_tailed import AS_OF
from benchmarks.measured import measure

RESULTS = Path(__file__).parent / "results" / "learned.json"
INDUSTRY, CUSTOMERS = "banking", 10_000

out = Console(highlight=False)


def ratio_of_features(rows: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of the fourteen features and of the RFM aggregate, round by round."""
    path = folder / "lines.parquet"
    measure("heavy_tailed_attributes", target=str(path), rows=rows, customers=rows // 10)
    found: dict[str, list[float]] = {"rfm_aggregate": [], "fourteen_features": []}
    peaks: dict[str, float] = {}
    for number in range(rounds):
        for task, seconds in found.items():
            run = measure(task, path=str(path), as_of=AS_OF)
            seconds.append(round(run.answer["seconds"], 2))
            peaks[task] = max(peaks.get(task, 0), round(run.peak_mb))
            out.print(f"round {number + 1}: {task} {seconds[-1]:,} s, {run.peak_mb:,.0f} MB")
    pairs = zip(found["fourteen_features"], found["rfm_aggregate"], strict=True)
    return {
        "rows": rows,
        "seconds": found,
        "peak_mb": peaks,
        "ratio": round(median(features / rfm for features, rfm in pairs), 2),
    }


def main() -> None:
    """Measure and write the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=100_000_000)
    asked.add_argument("--rounds", type=int, default=2)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="rfm_assets-bench-") as folder:
        features = ratio_of_features(options.rows, options.rounds, Path(folder))
    behavior = measure("behavior_of_an_industry", industry=INDUSTRY, customers=CUSTOMERS)
    told = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": measure("machine").answer,
        "features": features,
        "behavior": {
            "industry": INDUSTRY,
            "customers": CUSTOMERS,
            "rows": behavior.answer["rows"],
            "seconds": round(behavior.answer["seconds"], 2),
        },
    }
    RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    out.print(f"fourteen features cost {features['ratio']} x the RFM aggregate")
    out.print(f"behaviour of {CUSTOMERS:,} customers: {told['behavior']['seconds']} s")


if __name__ == "__main__":
    main()
