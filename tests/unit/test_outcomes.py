"""Every outcome is explained, and what went wrong comes with something to do about it."""

from __future__ import annotations

import pytest

from webhooks_app.core.retry import OutcomeKind, outcome_of_status
from webhooks_app.core.tls_alerts import certificate_alert
from webhooks_app.deliveries.outcomes import explanation_of, outcome_in_words, outcome_name


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_kind_has_words(kind: OutcomeKind) -> None:
    told = explanation_of(kind)
    assert str(told.what)
    assert bool(str(told.advice)) == (kind is not OutcomeKind.SUCCEEDED)
    assert str(outcome_name(kind))
    assert outcome_in_words(kind, None) == str(told.to_staff) != ""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504])
def test_a_known_status_is_named(status: int) -> None:
    told = explanation_of(outcome_of_status(status).kind, status)
    assert str(status) in str(told.what)
    assert str(told.advice)


@pytest.mark.parametrize("status", [301, 418, 599, 999])
def test_any_other_status_is_explained_by_its_kind(status: int) -> None:
    kind = outcome_of_status(status).kind
    assert explanation_of(kind, status) == explanation_of(kind)


def test_before_the_first_attempt_there_is_no_name() -> None:
    assert outcome_name("") == ""


def test_alerts_about_client_certificates_are_explained() -> None:
    required = certificate_alert(
        "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", sent=False
    )
    refused = certificate_alert("TLS connect error: error:0A000418:SSL routines::ssl/tls alert unknown ca", sent=True)
    assert "requires a client certificate" in str(explanation_of("tls_error", None, required).what)
    assert "refused the client certificate" in str(explanation_of("tls_error", None, refused).what)
    assert explanation_of("tls_error", None, "other") == explanation_of("tls_error")
    assert explanation_of("timeout", None, required) == explanation_of("timeout")
