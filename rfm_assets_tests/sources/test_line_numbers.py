"""Lines of records, against Python's own CSV reader."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.sources import line_numbers
from rfm_assets.sources.line_numbers import Extent, locate, measure, regular

VALUES = st.text(alphabet='ab," \n', max_size=6)
RECORDS = st.lists(st.one_of(st.tuples(VALUES, VALUES), st.none()), max_size=25)


def lines_of_rows(numbering):
    rows = np.arange(1, numbering.rows + 1)
    step = np.searchsorted(numbering.first_rows, rows, side="right") - 1
    return (rows + numbering.offsets[step]).tolist()


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Pieces so small that every border is met."""
    whole = line_numbers.CHUNK
    line_numbers.CHUNK = 5
    yield
    line_numbers.CHUNK = whole


@given(RECORDS, st.booleans(), st.data())
def test_the_start_of_each_record(records, ends, data):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["x", "y"])
    starts = []
    for record in records:
        if record is None:
            text.write("\n")
        else:
            starts.append((text.tell(), text.getvalue().count("\n") + 1))
            writer.writerow(record)
    content = text.getvalue().encode()
    content = content if ends or not records or records[-1] is None else content[:-1]
    broken = sorted(data.draw(st.sets(st.sampled_from(starts)))) if starts else []
    found = locate(
        io.BytesIO(content),
        "f.csv",
        quote='"',
        broken_at=np.array([at for at, _ in broken], np.int64),
    )
    assert found.broken_lines.tolist() == [line for _, line in broken]
    assert lines_of_rows(found) == [line for at, line in starts if (at, line) not in broken]


@given(st.sets(st.integers(2, 40)))
def test_a_regular_file_needs_no_second_look(broken):
    rows = 39 - len(broken)
    found = regular(np.array(sorted(broken), np.int64), rows)
    assert lines_of_rows(found) == [line for line in range(2, 41) if line not in broken]


@pytest.mark.parametrize(
    ("content", "extent"),
    [
        (b"", Extent(0, ends_with_newline=True)),
        (b"a\n", Extent(1, ends_with_newline=True)),
        (b"a\nbcdefgh", Extent(2, ends_with_newline=False)),
    ],
)
def test_measure(content, extent):
    assert measure(io.BytesIO(content), "f.csv") == extent
