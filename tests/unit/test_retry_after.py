"""Reading Retry-After: in seconds or as a date, and what makes no sense."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import ZONES
from webhooks_app.core.retry_after import parse_retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)

YEAR = 366 * 86_400.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120\t", 120),
        ("0", 0),
        ("000000000000000000005", 5),
        ("9" * 9000, YEAR),
        ("99999999", YEAR),
        ("31622400", YEAR),
        ("31622399", YEAR - 1),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60),
        ("Thu, 01 Jan 2026 01:01:00 +0100", 60),
        ("Thursday, 01-Jan-26 00:01:00 GMT", 60),
        ("Thu Jan  1 00:01:00 2026", 60),
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", YEAR),
        ("Fri, 31 Dec 9999 23:59:59 -2359", YEAR),
    ],
)
def test_a_retry_after_in_seconds_or_as_a_date(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "soon", "-5", "+5", "1.5", "1e9", "nan", "inf", "٣", "²", "5 seconds", "Wed, 99 Foo 2026"),
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Fri, 31 Dec 99999999999 23:59:59 GMT",
        "Fri, 31 Dec 1999 23:59:59 +99999999999999999999",
        "Wed, 21 Oct 2099 07:28:00 +99999999999999",
        "Wed, 21 Oct 2099 07:28:00 +2400",
        "Wed, 32 Oct 2099 07:28:00 GMT",
        "Wed, 21 Oct 2099 25:61:61 GMT",
        f"Wed, 21 Oct {'9' * 5000} 07:28:00 GMT",
        "Wed, 21 Oct 2099 07:28:00 GMT" + " (a)" * 20_000,
        "\ud800",
        "\0" * 40,
    ],
)
def test_a_retry_after_that_makes_no_sense(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


_DIGITS = st.text("0123456789", min_size=1, max_size=24)
_DATES = st.one_of(
    st.builds(
        "{0}, {1} {2} {3} {4}:{5}:{6} {7}{8}".format,
        st.sampled_from(["Wed", "Wednesday", ""]),
        _DIGITS,
        st.sampled_from(["Jan", "October", "13", ""]),
        *[_DIGITS] * 4,
        st.sampled_from(["+", "-", "GMT", "EST", ""]),
        _DIGITS | st.just(""),
    ),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: format_datetime(moment, usegmt=True)),
)


@given(value=st.none() | st.text() | _DIGITS | _DATES, now=st.datetimes(timezones=ZONES))
def test_no_retry_after_raises_or_exceeds_its_bounds(value: str | None, now: datetime) -> None:
    seconds = parse_retry_after(value, now)
    assert seconds is None or 0 <= seconds <= YEAR


@given(
    moment=st.datetimes(NOW.replace(tzinfo=None), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_a_date_in_the_next_year_is_read_to_the_second(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert parse_retry_after(format_datetime(whole, usegmt=True), NOW) == (whole - NOW).total_seconds()
