"""What is news: told once, again where it got worse, and once more when it is over."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.alerting.alert import Alert, Level, Memory, News, Told
from rfm_assets.alerting.message import IN_FULL, Message
from rfm_assets.errors import InvalidConfig

SINCE = datetime(2026, 3, 2, 6, 5, tzinfo=UTC)


def alert(check: str = "volume", level: Level = "error", **more: str) -> Alert:
    told = {"measured": "3", "expected": "5", "next_step": "Look.", "path": "/assets/a"} | more
    return Alert(
        condition="failed_check", level=level, subject="a", check=check, since=SINCE, **told
    )


def told(memory: Memory, *active: Alert, watched: bool = True, resolved: bool = True):
    news, after = memory.compared(active, watched=lambda _: watched, tell_resolved=resolved)
    return [one.check for one in news.fired], [one.check for one in news.resolved], after


def test_an_alert_is_told_once_as_long_as_it_lasts():
    fired, resolved, memory = told(Memory(), alert())
    assert (fired, resolved) == (["volume"], [])

    fired, resolved, after = told(memory, alert(measured="2"))

    assert (fired, resolved, after) == ([], [], memory)


def test_its_end_is_told_once_and_then_it_is_news_again():
    *_, memory = told(Memory(), alert())
    fired, resolved, memory = told(memory)
    assert (fired, resolved) == ([], ["volume"])

    assert told(memory)[:2] == ([], [])
    assert told(memory, alert())[0] == ["volume"]


def test_a_warning_that_becomes_an_error_is_told_again_and_no_other_change():
    *_, memory = told(Memory(), alert(level="warn"))
    fired, _, memory = told(memory, alert(level="error"))
    assert fired == ["volume"]

    fired, _, memory = told(memory, alert(level="warn"))
    assert fired == []
    assert told(memory, alert(level="error"))[0] == ["volume"]


def test_what_nobody_looks_for_any_more_is_forgotten_in_silence():
    *_, memory = told(Memory(), alert())

    assert told(memory, watched=False) == ([], [], Memory())


def test_ends_can_be_left_out():
    *_, memory = told(Memory(), alert())

    assert told(memory, resolved=False) == ([], [], Memory())


def test_the_memory_survives_being_written_and_holds_nothing_that_was_measured():
    *_, memory = told(Memory(), alert(measured="customer 4711"))

    assert Memory.read(memory.written()) == memory
    assert "4711" not in memory.written()
    assert Memory.read(None) == Memory.read("") == Memory()


def test_a_cursor_of_somebody_else_is_no_empty_memory():
    with pytest.raises(InvalidConfig, match="Reset the cursor"):
        Memory.read("17")


@given(st.lists(st.sets(st.sampled_from("abcdef"))))
def test_who_follows_the_messages_knows_what_is_wrong(looks):
    memory, known = Memory(), set[str]()
    for wrong in looks:
        fired, resolved, memory = told(memory, *(alert(check) for check in sorted(wrong)))
        assert not known & set(fired)
        known = (known | set(fired)) - set(resolved)
        assert known == wrong


def test_the_text_names_everything_and_is_the_same_each_time():
    gone = Told(condition="late_refresh", level="error", subject="weekly", partition="2026-02-23")
    message = Message("Shop", News((alert(),), (gone,)), "https://dagster.example.com/")

    assert message.text() == (
        "Shop: 1 alert, 1 resolved\n\n"
        "ERROR – Failed check: a, check volume, since 2026-03-02 06:05 UTC\n"
        "Measured: 3\nExpected: 5\nNext: Look.\nhttps://dagster.example.com/assets/a\n\n"
        "RESOLVED – Late refresh: weekly, partition 2026-02-23\n"
    )
    assert message.payload() == message.payload()
    assert message.id != Message("Shop", News((alert("drift"),), ())).id


def test_slack_gets_no_markup_that_is_not_ours():
    text = Message(
        "A&B", News((alert(measured="<!channel> & <@U1>"),), ()), "https://d.org"
    ).slack()

    assert "Measured: &lt;!channel&gt; &amp; &lt;@U1&gt;\n" in text
    assert text.startswith("*A&amp;B: 1 alert*\n")
    assert text.endswith("\n<https://d.org/assets/a|Dagster>\n")


def test_of_very_many_alerts_the_last_have_only_their_headlines():
    many = tuple(alert(f"check_{n:03}") for n in range(IN_FULL + 5))

    text = Message("Shop", News(many, ())).text()

    assert text.count("Measured:") == IN_FULL
    assert all(one.check and one.check in text for one in many)
