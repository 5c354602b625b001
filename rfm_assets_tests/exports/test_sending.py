"""Audiences over HTTP: whatever goes wrong, ledger and destination agree in the end."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfm_assets.domain.destinations import Destination as To
from rfm_assets.errors import DeliveryStopped, InvalidConfig, LedgerBusy, LedgerUnusable
from rfm_assets.exports.ledger import Ledger, open_ledger
from rfm_assets.exports.members import people_of
from rfm_assets.exports.protocols import Answer, Member, Target, audience_of, read_answer
from rfm_assets.exports.sending import Plan, Sender, Sent, _retry_after, plan
from rfm_assets.library import load_destination
from rfm_assets_tests.exports.server import FAULTS, SECRET, SLOW, Destination, serving
from rfm_assets_tests.postgres import EmbeddedPostgres

OWN = {
    "id": "crm",
    "title": "CRM",
    "verified": "by hand",
    "sources": [{"page": "https://example.com/api", "says": "everything"}],
    "fields": [{"name": "id", "of": "customer_id"}],
    "identify_by": ["id"],
    "delivery": {
        "protocol": "json",
        "url": "{server}/own",
        "settings": {"server": "where it is"},
        "audience": ["server"],
        "secret_env": "CRM_TOKEN",
        "batch_size": 3,
        "idempotency_header": "Idempotency-Key",
    },
}
SETTINGS = {
    "own": {},
    "braze": {"attribute": "rfm_campaigns"},
    "mailchimp": {"list_id": "l1", "segment_id": "7"},
    "meta": {"audience_id": "a1"},
    "google": {"account_id": "1", "audience_id": "77", "customer_match_terms": "ACCEPTED"},
}
PACKAGED = {
    "braze": "braze",
    "mailchimp": "mailchimp",
    "meta": "meta_custom_audiences",
    "google": "google_customer_match",
}


class Killed(BaseException):
    """The process ends here."""


class Desk:
    """One audience of one destination on the server, and its ledger in a file or at `ledger_url`."""

    def __init__(
        self,
        kind: str,
        address: str,
        server: Destination,
        folder: Path,
        *,
        ledger_url: str | None = None,
    ) -> None:
        self.kind, self.server, self.folder = kind, server, folder
        self.ledger_url = ledger_url or f"sqlite:///{folder / 'ledger.sqlite'}"
        found = To.model_validate(OWN) if kind == "own" else load_destination(PACKAGED[kind])
        assert found.delivery is not None
        delivery = found.delivery.model_copy(update={"batch_size": 3, "requests_per_minute": None})
        self.to = found.model_copy(update={"delivery": delivery})
        place = "server" if "server" in delivery.settings else "rest_endpoint"
        given_ = {place: f"{address}/{kind}" if kind != "own" else address, **SETTINGS[kind]}
        self.target = Target(delivery, given_, "win_back", SECRET)
        self.audience = audience_of(delivery, given_, "win_back")
        self.naps: list[float] = []
        self.kill_after: int | None = None
        self.posted = 0

    @property
    def engine(self) -> sa.Engine:
        return open_ledger(self.ledger_url)

    def ledger(self) -> Ledger:
        return Ledger(self.engine, destination=self.to.id, audience=self.audience)

    def people(self, *names: str) -> dict[str, Member]:
        return people_of([self.identity(name) for name in names], self.to)

    def identity(self, name: str) -> list[str | None]:
        value = f"{name}@example.com" if self.kind == "mailchimp" else name
        return [value, *[None] * (len(self.to.identify_by) - 1)]

    def at_server(self, *names: str) -> set[str]:
        return {str(self.identity(name)[0]) for name in names}

    def nap(self, seconds: float) -> None:
        self.wait_for_the_server()
        self.naps.append(seconds)
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                raise Killed

    def wait_for_the_server(self) -> None:
        """Until it is through with what it was sent, whether or not anybody waited for it."""
        end = time.monotonic() + 30
        while self.server.handled < self.posted:
            assert time.monotonic() < end, "the server hangs"
            time.sleep(0.005)

    def hurry(self, request: httpx.Request) -> None:
        """Have little patience for the answer that will be slow, and much for all others."""
        self.posted += 1
        if next(iter(self.server.faults), "") == "slow after":
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": SLOW / 3}

    def states(self) -> dict[str, str]:
        """The names in each state of the ledger."""
        entries = self.ledger().entries()
        found: dict[str, str] = {}
        for name in "abcdefgh":
            (key,) = self.people(name)
            if key in entries:
                found[entries[key].state] = found.get(entries[key].state, "") + name
        return found

    def planned(self, *names: str, **options: Any) -> Plan:
        everybody = self.people(*"abcdefgh", *names)
        return plan(self.ledger().entries(), self.people(*names), everybody, **options)

    def send(self, *names: str, **options: Any) -> Sent:
        """One run of a process of its own, once."""
        states = self.states()
        # Whoever was refused after an attempt without an answer may be there as well.
        adding = "".join(states.get(one, "") for one in ("adding", "readding", "doubtful"))
        self.server.doubted(self.at_server(*adding), self.at_server(*states.get("removing", "")))
        hooks = {"request": [self.hurry]}
        with httpx.Client(timeout=30, event_hooks=hooks) as client:
            sender = Sender(
                self.to, self.target, self.ledger(), client=client, sleep=self.nap, max_attempts=3
            )
            return sender.send(self.planned(*names, **options))

    def send_until_done(self, *names: str) -> None:
        for _ in range(40):
            try:
                self.send(*names)
            except (DeliveryStopped, Killed):
                self.kill_after = None
                continue
            return
        raise AssertionError("it is never done")

    def require_agreement(self, *names: str) -> None:
        """Server and ledger have the same people, and there is nothing left to do."""
        entries = self.ledger().entries()
        present = {key for key, entry in entries.items() if entry.state == "present"}
        wanted = {n for n in names if not self.at_server(n) & self.server.bad}
        assert self.server.members == self.at_server(*wanted)
        assert present == set(self.people(*wanted))
        assert self.ledger().open_batches() == []
        before = len(self.server.requests)
        assert self.send(*names).requests == 0
        assert len(self.server.requests) == before
        assert self.server.twice == []


@pytest.fixture(params=sorted(SETTINGS))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    with serving() as (address, server):
        yield Desk(request.param, address, server, tmp_path)


@pytest.fixture(params=sorted(SETTINGS.keys() - {"google"}))
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Every destination that refuses single people; Google takes a request whole or not at all."""
    with serving() as (address, server):
        yield Desk(request.param, address, server, tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Desk]:
    with serving() as (address, server):
        yield Desk("own", address, server, tmp_path)


def test_only_what_differs_is_sent(desk: Desk) -> None:
    assert vars(desk.send(*"abcde")) == {"added": 5, "removed": 0, "refused": {}, "requests": 2}
    desk.require_agreement(*"abcde")

    sent = desk.send(*"bcdef")

    assert (sent.added, sent.removed) == (1, 1)
    assert [operation for operation, _ in desk.server.requests[2:]] == ["remove", "add"]
    desk.require_agreement(*"bcdef")


@pytest.fixture
def shared(tmp_path: Path, postgres: EmbeddedPostgres) -> Iterator[Desk]:
    """A desk whose ledger is in Postgres."""
    with serving() as (address, server):
        yield Desk("own", address, server, tmp_path, ledger_url=postgres.url)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_ledger_in_postgres_agrees_with_the_server_after_every_fault(
    shared: Desk, fault: str
) -> None:
    shared.server.faults.extend([fault, fault])
    shared.send_until_done(*"abcde")
    shared.require_agreement(*"abcde")
    shared.server.faults.extend([fault] * 4)
    shared.send_until_done(*"cdefg")
    shared.require_agreement(*"cdefg")


@pytest.mark.parametrize("where", ["own", "shared"])
def test_one_sends_at_a_time(request: pytest.FixtureRequest, where: str) -> None:
    desk: Desk = request.getfixturevalue(where)
    with desk.ledger().alone():
        # Another machine, as far as the ledger is concerned.
        with pytest.raises(LedgerBusy, match="another `rfm send`"), desk.ledger().alone():
            pass
        assert desk.send("a", "b").added == 2
    with desk.ledger().alone():
        desk.require_agreement("a", "b")


def test_two_audiences_of_a_shared_ledger_do_not_wait_for_each_other(shared: Desk) -> None:
    other = Ledger(shared.engine, destination=shared.to.id, audience="another")
    with shared.ledger().alone(), other.alone():
        assert other.entries() == {}


def test_whoever_loses_the_lock_of_a_killed_process_is_not_waited_for(shared: Desk) -> None:
    held = shared.ledger().alone()
    held.__enter__()
    engine = shared.engine
    with engine.begin() as connection:
        mine = sa.text("select pg_backend_pid()")
        own_id = connection.scalar(mine)
        connection.execute(
            sa.text(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> :own"
            ),
            {"own": own_id},
        )
    with shared.ledger().alone():
        pass


def test_other_databases_hold_no_ledger() -> None:
    with pytest.raises(LedgerUnusable, match="neither sqlite nor postgresql"):
        open_ledger("oracle://someone@somewhere/ledger")


@pytest.mark.parametrize("fault", FAULTS)
def test_after_every_fault_twice_over_ledger_and_server_agree(desk: Desk, fault: str) -> None:
    desk.server.faults.extend([fault, fault])
    desk.send_until_done(*"abcde")
    desk.require_agreement(*"abcde")

    desk.server.faults.extend([fault, fault, fault, fault])
    desk.send_until_done(*"cdefg")
    desk.require_agreement(*"cdefg")


def test_who_is_refused_inside_a_good_answer_is_not_taken_for_sent_twice_over(judge: Desk) -> None:
    judge.server.bad = judge.at_server(*"bc")
    sent = judge.send(*"abcde")
    assert sent.added == 3
    assert set(sent.refused) == set(judge.people(*"bc"))
    judge.require_agreement(*"abcde")
    assert judge.planned(*"abcde").refused == 2

    judge.server.bad = judge.at_server(*"bcfg")
    sent = judge.send(*"bcefg")
    assert (sent.added, sent.removed) == (0, 2)
    assert set(sent.refused) == set(judge.people(*"fg"))
    judge.require_agreement(*"bcefg")

    judge.server.bad = set()
    assert judge.send(*"bcefg", retry_refused=True).added == 4
    judge.require_agreement(*"bcefg")


def test_a_sample_of_those_who_are_refused_is_not_taken_for_all_of_them(tmp_path: Path) -> None:
    """Meta counts the entries that it cannot read and names some of them."""
    with serving() as (address, server):
        desk = Desk("meta", address, server, tmp_path)
        server.bad = desk.at_server(*"abc")
        assert set(desk.send(*"abc").refused) == set(desk.people(*"abc"))
        # Found out by halves: the requests before may have come through.
        assert desk.states() == {"doubtful": "abc"}
        server.bad = set()
        desk.send()
        assert server.members == set()
        assert desk.states() == {"absent": "abc"}


def test_who_was_taken_before_the_refusal_is_removed_once_she_is_not_wanted(judge: Desk) -> None:
    """Her first request came through and its answer was lost; the second one is refused."""
    judge.server.faults.append("500 after")
    judge.server.bad, judge.server.bad_from_request = judge.at_server("a"), 2
    judge.send("a", "b")
    assert judge.states() == {"doubtful": "a", "present": "b"}
    assert judge.server.members == judge.at_server("a", "b")
    # Like everybody who was refused, she is not asked again.
    assert judge.send("a", "b").requests == 0
    judge.send("b")
    assert judge.server.members == judge.at_server("b")
    judge.require_agreement("b")


def test_who_could_not_be_removed_and_is_refused_then_is_removed_in_the_end(own: Desk) -> None:
    own.send("a", "b")
    own.server.faults.extend(["500 before"] * 3)
    with pytest.raises(DeliveryStopped):
        own.send("b")
    own.server.bad = own.at_server("a")
    own.send("a", "b")
    assert own.states() == {"doubtful": "a", "present": "b"}
    own.server.bad = set()
    own.send("b")
    assert own.server.members == own.at_server("b")


def test_one_malformed_person_holds_up_nobody_else(desk: Desk) -> None:
    desk.send(*"abcde")
    desk.server.poison = desk.at_server("a", "g")
    sent = desk.send(*"efgh")
    assert desk.server.members == desk.at_server(*"aefh")
    assert set(sent.refused) == set(desk.people(*"ag"))
    assert (sent.added, sent.removed) == (2, 3)
    # She is still to be removed, and is as soon as it is taken.
    assert desk.planned(*"efgh").removes.keys() == desk.people("a").keys()
    desk.server.poison = set()
    desk.send(*"efgh", retry_refused=True)
    desk.require_agreement(*"efgh")


def test_where_nobody_is_taken_it_stops_and_blames_nobody(desk: Desk) -> None:
    desk.server.poison = desk.at_server(*"abcdefgh")
    with pytest.raises(DeliveryStopped, match="HTTP 400"):
        desk.send(*"abcdefgh")
    # Halves down to four single people, and no further.
    assert len(desk.server.requests) <= 8
    assert "refused" not in desk.states()
    desk.server.poison = set()
    desk.send_until_done(*"abcdefgh")
    desk.require_agreement(*"abcdefgh")


def test_a_single_person_who_is_not_taken_is_told(own: Desk) -> None:
    own.server.poison = {"a"}
    with pytest.raises(DeliveryStopped, match="HTTP 400"):
        own.send("a")
    assert own.states() == {"adding": "a"}


@pytest.mark.parametrize("kind", ["own", "mailchimp"])
def test_what_a_destination_says_of_people_is_kept_without_their_names(
    kind: str, tmp_path: Path
) -> None:
    with serving() as (address, server):
        desk = Desk(kind, address, server, tmp_path)
        server.bad = desk.at_server("quentin")
        sent = desk.send("quentin", "b")
        assert len(sent.refused) == 1
        with desk.engine.begin() as connection:
            told = connection.execute(sa.text("select detail from export_members")).scalars().all()
        assert sorted(told) == ["", {"own": "'…' is bad", "mailchimp": "… bounced"}[kind]]


@pytest.mark.parametrize(
    "address", ["https://[bad", "https://example.com:abc", "https://example.com/a\n"]
)
def test_what_is_no_address_is_told(own: Desk, address: str) -> None:
    delivery = own.target.delivery.model_copy(update={"url": "{server}"})
    own.target = Target(delivery, {"server": address}, "win_back", SECRET)
    with pytest.raises(InvalidConfig, match="make no address"):
        own.send("a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("-1", 0.0), ("nan", None), ("inf", None), ("soon", None), ("", None)],
)
def test_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert _retry_after(text) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
def test_how_long_to_wait_until_a_moment(zone: str) -> None:
    assert _retry_after(f"Sat, 21 Nov 2020 10:00:00 {zone}") == 0.0


def test_numbers_that_do_not_add_up_are_no_answer(own: Desk) -> None:
    people = list(own.people("a", "b").values())
    assert read_answer(own.target, {"accepted": 2}, people) == Answer()
    with pytest.raises(ValueError, match="do not add up"):
        read_answer(own.target, {"accepted": 0}, people)


def test_who_was_being_removed_and_is_wanted_again_is_sent_again(own: Desk) -> None:
    own.send("a", "b")
    own.server.faults.extend(["500 after"] * 3)
    with pytest.raises(DeliveryStopped):
        own.send("a")
    assert own.states() == {"present": "a", "removing": "b"}

    own.send("a", "b")

    assert own.server.requests[-1] == ("add", ("b",))
    own.require_agreement("a", "b")


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(sorted(SETTINGS)),
    runs=st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcdefgh"), min_size=1),
            st.lists(st.sampled_from([*FAULTS, ""]), max_size=6),
            st.one_of(st.none(), st.integers(0, 6)),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    bad=st.sets(st.sampled_from("ab"), max_size=1),
)
def test_whatever_sequence_of_faults_deaths_and_changes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, runs: list[Any], bad: set[str]
) -> None:
    with serving() as (address, server):
        desk = Desk(kind, address, server, tmp_path_factory.mktemp("ledger"))
        server.bad = set() if kind == "google" else desk.at_server(*bad)
        for names, faults, kill_after, patient in runs:
            server.faults.extend(faults)
            desk.kill_after = kill_after
            if patient:
                desk.send_until_done(*names)
            else:  # somebody gives up, and the next list is another one
                try:
                    desk.send(*names)
                except (DeliveryStopped, Killed):
                    desk.kill_after = None
        server.faults.clear()
        desk.kill_after = None
        desk.send_until_done(*runs[-1][0])
        desk.require_agreement(*runs[-1][0])


def test_a_batch_that_may_have_arrived_goes_again_under_the_same_key(own: Desk) -> None:
    own.server.faults.extend(["dropped after"] * 3)
    with pytest.raises(DeliveryStopped, match="no clear answer 3 times"):
        own.send("a", "b")
    assert [one.attempts for one in own.ledger().open_batches()] == [3]

    own.send("a", "b")

    assert len(set(own.server.keys)) == 1
    own.require_agreement("a", "b")


def test_a_batch_whose_members_are_wanted_otherwise_is_not_sent_again(own: Desk) -> None:
    own.server.faults.extend(["500 after"] * 3)
    with pytest.raises(DeliveryStopped):
        own.send("a", "b")
    assert own.server.members == {"a", "b"}

    own.send("b")  # a was suppressed in between

    assert own.server.requests[3:] == [("remove", ("a",)), ("add", ("b",))]
    own.require_agreement("b")


def test_retry_after_is_kept_and_too_long_a_wait_ends_the_run(own: Desk) -> None:
    own.send("a")
    assert own.naps == [0.0]
    answers = iter(
        [
            httpx.Response(429, headers={"Retry-After": "7"}),
            httpx.Response(503, headers={"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT"}),
            httpx.Response(429, headers={"Retry-After": "86400"}),
        ]
    )
    with httpx.Client(transport=httpx.MockTransport(lambda _: next(answers))) as client:
        sender = Sender(own.to, own.target, own.ledger(), client=client, sleep=own.nap)
        with pytest.raises(DeliveryStopped, match="asks to wait 86,400 seconds"):
            sender.send(own.planned("a", "b"))
    assert own.naps[1:] == [0.0, 7.0, 0.0, 0.0, 0.0]
    own.send_until_done("a", "b")
    own.require_agreement("a", "b")


def test_a_rate_is_kept(own: Desk) -> None:
    delivery = own.target.delivery.model_copy(update={"requests_per_minute": 30})
    own.target = Target(delivery, own.target.settings, "win_back", SECRET)
    own.send(*"abcd")
    assert own.naps == [2.0, 2.0]


def test_a_wrong_token_is_told_and_stands_nowhere(
    own: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wr0ng-token"
    own.target = Target(own.target.delivery, own.target.settings, "win_back", wrong)
    with pytest.raises(DeliveryStopped, match=r"HTTP 401.*key or token") as raised:
        own.send("a")
    seen = caplog.text + str(raised.value) + repr(own.target)
    for path in own.folder.iterdir():
        seen += path.read_bytes().decode("latin-1")
    assert wrong not in seen
    assert SECRET not in seen


def test_the_ledger_has_no_address(tmp_path: Path) -> None:
    with serving() as (address, server):
        desk = Desk("mailchimp", address, server, tmp_path)
        desk.send(*"abc")
        assert b"example.com" not in (tmp_path / "ledger.sqlite").read_bytes()
        # Whoever left the house cannot be removed by address, and is told.
        left = plan(desk.ledger().entries(), desk.people("a"), desk.people("a", "b"))
        assert (len(left.removes), len(left.unremovable)) == (1, 1)


def test_secrets_do_not_travel_in_clear(own: Desk) -> None:
    given_ = {**own.target.settings, "server": "http://crm.example.com"}
    with pytest.raises(InvalidConfig, match="is not encrypted"), httpx.Client() as client:
        Sender(
            own.to,
            Target(own.target.delivery, given_, "win_back", SECRET),
            own.ledger(),
            client=client,
            sleep=own.nap,
        )


def test_a_ledger_that_cannot_be_written_stops_before_anything_is_sent(own: Desk) -> None:
    (own.folder / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerUnusable):
        own.send("a")
    assert own.server.requests == []
