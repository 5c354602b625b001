"""Identifiers against the examples and hashes that vendors publish, and against what people type."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.identifiers import STEPS, Malformed, hashed, normalised, would_run
from rfm_assets.library import load_destination


def sent(destination: str, field: str, value: str) -> str | None:
    """What a destination gets of one value."""
    one = load_destination(destination).field(field)
    text = normalised(value, one.steps)
    return None if text is None else hashed(text, one.hash)


@pytest.mark.parametrize(
    ("destination", "field", "value", "expected"),
    [
        # Meta, marketing-api/audiences/guides/custom-audiences, "Hashing"
        (
            "meta_custom_audiences",
            "email",
            " Mary@Example.com",
            "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79",
        ),
        (
            "meta_custom_audiences",
            "phone",
            "+1 (555) 987-6543",
            "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e",
        ),
        # Google, the Data Manager API's own formatter and its tests
        (
            "google_customer_match",
            "Email",
            " AlexZ@example.com",
            "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a",
        ),
        (
            "google_customer_match",
            "Phone",
            "+1 800 555 0100",
            "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30",
        ),
    ],
)
def test_hashes_are_those_that_the_vendors_publish(
    destination: str, field: str, value: str, expected: str
) -> None:
    assert sent(destination, field, value) == expected


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        # data-manager/api/devguides/concepts/formatting
        ("cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
        ("user.name+NYC@Example.com", "user.name+nyc@example.com"),
        (" a.b @googlemail.com", "ab@googlemail.com"),
    ],
)
def test_google_reads_gmail_without_dots_and_plus_and_meta_does_not(given_: str, read: str) -> None:
    steps = load_destination("google_customer_match").field("Email").steps
    assert normalised(given_, steps) == read
    if " " not in given_.strip():
        meta = load_destination("meta_custom_audiences").field("email").steps
        assert normalised(given_, meta) == given_.lower()


def test_a_number_has_its_plus_where_it_must_and_none_where_it_must_not() -> None:
    assert sent("klaviyo", "Phone Number", "0044 844 412-4653") == "+448444124653"
    assert sent("salesforce_marketing_cloud", "_MobileNumber", "+44 844 412 4653") == "448444124653"


def test_google_takes_country_and_postal_code_as_they_are_and_meta_a_hashed_country() -> None:
    assert sent("google_customer_match", "Country", " us") == "US"
    assert sent("google_customer_match", "Zip", " 94016 ") == "94016"
    expected = hashlib.sha256(b"us").hexdigest()
    assert sent("meta_custom_audiences", "country", "US") == expected


def test_names_for_meta_are_in_lower_case_without_punctuation() -> None:
    assert sent("meta_custom_audiences", "fn", " Mary-Jane O'Neil ") == hashed(
        "maryjane oneil", "sha256"
    )
    assert sent("meta_custom_audiences", "ln", "Šťastná") == hashed("šťastná", "sha256")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nobody", "no e-mail address"),
        ("two@at@example.com", "no e-mail address"),
        ("a b@example.com", "no e-mail address"),
        ("a@localhost", "no e-mail address"),
        (".a@example.com", "no e-mail address"),
        ("a..b@example.com", "no e-mail address"),
        ("a@example.com;b@example.com", "no e-mail address"),
        (f"{'a' * 65}@example.com", "longer"),
        ("a\u200b@example.com", "cannot be seen"),
    ],
)
def test_what_is_no_address_is_malformed(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        normalised(text, ("trim", "lower", "email"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0170 1234567", "no country code"),
        ("+0 170 1234567", "no telephone number"),
        ("+1234567890123456", "no telephone number"),
        ("+49 CALL ME", "no telephone number"),
    ],
)
def test_what_is_no_number_is_malformed(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        normalised(text, ("trim", "e164"))


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_nothing_is_nothing_and_never_the_hash_of_nothing(nothing: object) -> None:
    assert normalised(nothing, ("trim", "lower", "email")) is None


@given(st.text(), st.lists(st.sampled_from(STEPS), unique=True))
def test_any_text_is_read_or_malformed_and_never_blank(text: str, steps: list) -> None:
    try:
        found = normalised(text, steps)
    except Malformed:
        return
    assert found is None or found


@given(st.emails())
def test_normalising_twice_changes_nothing(address: str) -> None:
    steps = ("drop_spaces", "lower", "email", "gmail")
    try:
        once = normalised(address, steps)
    except Malformed:
        return
    assert normalised(once, steps) == once


def test_a_number_is_no_formula() -> None:
    assert not would_run("+4930123456")
    assert not would_run("-5")
    assert would_run("=1+1")
    assert would_run("@SUM(A1)")
    assert would_run("+49 30")


@pytest.mark.parametrize(
    "text", [" =1+1", "x;=1+1", 'x; "=1+1', "x\t@SUM(A1)", "x\r\n-A1", "\uff1d1+1", "x;\uff0bA1"]
)
def test_a_formula_may_begin_after_spaces_or_where_other_spreadsheets_divide_cells(
    text: str,
) -> None:
    assert would_run(text)


@pytest.mark.parametrize(
    "text", ["a;b", "a = b", "Ann-Marie", "a@example.com", " -5", "1;2", "x;'=1"]
)
def test_other_texts_are_no_formulas(text: str) -> None:
    assert not would_run(text)
