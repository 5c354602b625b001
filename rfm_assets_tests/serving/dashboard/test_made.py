"""Pages that are kept, while the store says the same and no longer."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rfm_assets.manifest import Manifest
from rfm_assets.serving.catalogue import Catalogue
from rfm_assets.serving.dashboard import made
from rfm_assets.serving.dashboard.made import Page, Pages
from rfm_assets.store import Snapshot, Store

MONDAYS = (date(2026, 2, 2), date(2026, 2, 9))
ADDRESS = ("segments", "")


def write(store: Store, table: str, as_of: date, value: int) -> None:
    with store.stage(table, as_of) as staging:
        part = Path(str(staging.path_for()))
        part.mkdir(parents=True)
        pl.DataFrame({"value": [value]}).write_parquet(part / "one.parquet")
        staging.promote(Manifest(kind=table, row_counts={"rows": 1}))


class Maker:
    """A page of what one snapshot holds, and how often it was made."""

    def __init__(self, root: Path, *, lasting: bool = True) -> None:
        self.store = Store(root)
        for day in MONDAYS:
            write(self.store, "segments", day, 1)
        self.catalogue = Catalogue(self.store)
        self.pages = Pages(self.catalogue)
        self.times = 0
        self.lasting = lasting

    def make(self) -> Page:
        self.times += 1
        snapshot = self.catalogue.snapshot("segments", MONDAYS[0])
        return Page(snapshot.version, None, None, {}, "", self.lasting)

    def page(self, address: tuple[str, str] = ADDRESS) -> Page:
        self.catalogue.forget()
        return self.pages.page(address, self.make)


def test_a_page_is_made_once(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    assert maker.page() == maker.page()
    assert maker.times == 1
    maker.page(("segments", "?as_of=2026-02-02"))
    assert maker.times == 2


@pytest.mark.parametrize(
    ("table", "day"),
    [("segments", MONDAYS[0]), ("segments", MONDAYS[1]), ("another", MONDAYS[0])],
    ids=["what-was-read", "latest", "new-table"],
)
def test_a_page_is_made_anew_once_the_store_says_another_thing(
    tmp_path: Path, table: str, day: date
) -> None:
    maker = Maker(tmp_path)
    before = maker.page()
    write(maker.store, table, day, 2)
    after = maker.page()
    assert maker.times == 2
    assert after.content == maker.store.snapshot("segments", MONDAYS[0]).version
    assert (after == before) is ((table, day) != ("segments", MONDAYS[0]))
    maker.page()
    assert maker.times == 2


def test_a_page_of_an_older_date_stands_where_a_date_between_is_made_anew(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    write(maker.store, "segments", date(2026, 2, 16), 1)
    maker.page()
    write(maker.store, "segments", MONDAYS[1], 2)
    maker.page()
    assert maker.times == 1


def test_a_snapshot_that_was_missing_is_looked_for_again(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    missing = date(2026, 1, 5)
    found: list[Snapshot | None] = []

    def make() -> Page:
        table = maker.catalogue.table("segments")
        found.append(maker.catalogue.at(table, missing))
        return Page(None, None, None, {}, "", lasting=True)

    maker.pages.page(ADDRESS, make)
    maker.pages.page(ADDRESS, make)
    assert found == [None]
    write(maker.store, "segments", missing, 1)
    maker.pages.page(ADDRESS, make)
    assert [one is None for one in found] == [True, False]


def test_a_page_with_an_error_is_not_kept(tmp_path: Path) -> None:
    maker = Maker(tmp_path, lasting=False)
    maker.page()
    maker.page()
    assert maker.times == 2


def test_what_was_opened_longest_ago_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "KEPT", 2)
    maker = Maker(tmp_path)
    for page in ("a", "b", "a", "c", "a"):
        maker.page((page, ""))
    assert maker.times == 3
    maker.page(("b", ""))
    assert maker.times == 4
