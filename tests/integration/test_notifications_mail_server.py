"""The mail server that is away, slow or silent, and runs that meet: nothing is lost, repeated or held up."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import threading
from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.utils import timezone

from tests.factories import EndpointFactory, NotificationFactory, TenantFactory
from tests.mail_servers import send_by_smtp, send_through
from tests.pipelines import eventually
from webhooks_app.models import Notification
from webhooks_app.notifications.send import send_notifications

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HERE = "tests.integration.test_notifications_mail_server"
#: A host's own template, with a mistake that shows for one endpoint.
BREAKABLE = (
    "{% for summary in summaries %}{% if 'broken' in summary.name %}{% include 'no such' %}{% endif %}{% endfor %}"
)


class SilentMailServer(threading.Thread):
    """Accepts connections, greets if asked to, and never says another word."""

    def __init__(self, greeting: bytes = b"") -> None:
        super().__init__(daemon=True)
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []

    def run(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                connection.sendall(self._greeting)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(10)
        for accepted in self.connections:
            accepted.close()


@pytest.fixture(params=[b"", b"220 mail.example ESMTP\r\n"], ids=["says nothing", "greets"])
def silent_mail_server(request):
    server = SilentMailServer(request.param)
    server.start()
    yield server
    server.close()


class DownBackend(EmailBackend):
    def open(self):
        raise ConnectionRefusedError("no mail server")


class FailingBackend(EmailBackend):
    """Fails for one address, as a mail server that greylists it does."""

    def send_messages(self, messages):
        if "sulky@customer.example" in messages[0].to:
            raise smtplib.SMTPServerDisconnected("try later")
        return super().send_messages(messages)


class RefusingBackend(EmailBackend):
    def send_messages(self, messages):
        raise smtplib.SMTPRecipientsRefused(dict.fromkeys(messages[0].to, (550, b"no such user")))


class CountingBackend(EmailBackend):
    opened = 0

    def open(self):
        CountingBackend.opened += 1
        return super().open()


class SlowBackend(EmailBackend):
    """Both runs are in the middle of sending before either is done."""

    meeting = threading.Event()

    def send_messages(self, messages):
        self.meeting.wait(1)
        return super().send_messages(messages)


@pytest.fixture(autouse=True)
def _no_admins(settings):
    settings.ADMINS = []


def unsent() -> int:
    return Notification.objects.unsent().count()


@pytest.mark.parametrize("backend", ["DownBackend", "FailingBackend"])
def test_a_mail_server_that_is_down_leaves_everything_to_the_next_run(settings, backend, caplog):
    tenant = TenantFactory(email="sulky@customer.example")
    NotificationFactory(endpoint=EndpointFactory(tenant=tenant))
    send_through(settings, f"{HERE}.{backend}")
    assert send_notifications(NOW) == 0
    assert unsent() == 1
    send_through(settings, "django.core.mail.backends.locmem.EmailBackend")
    assert send_notifications(NOW + timedelta(minutes=1)) == 1
    assert unsent() == 0


def test_one_address_that_cannot_be_reached_does_not_stop_the_others(settings, caplog):
    send_through(settings, f"{HERE}.FailingBackend")
    NotificationFactory(endpoint=EndpointFactory(tenant=TenantFactory(email="sulky@customer.example")))
    NotificationFactory()
    assert send_notifications(NOW) == 1
    assert unsent() == 1


def test_an_address_that_the_mail_server_refuses_is_not_tried_for_ever(settings, caplog):
    send_through(settings, f"{HERE}.RefusingBackend")
    NotificationFactory()
    send_notifications(NOW)
    assert unsent() == 0
    assert "refuses" in caplog.text


def test_what_a_dead_run_claimed_is_sent_when_its_claim_ends():
    NotificationFactory(claimed_until=NOW + timedelta(minutes=10))
    assert send_notifications(NOW) == 0
    assert send_notifications(NOW + timedelta(minutes=11)) == 1


def test_a_second_run_leaves_the_mail_server_to_the_first(settings):
    send_through(settings, f"{HERE}.CountingBackend")
    CountingBackend.opened = 0
    NotificationFactory(claimed_until=NOW + timedelta(minutes=1))
    NotificationFactory()
    assert send_notifications(NOW) == 0
    assert (CountingBackend.opened, unsent()) == (0, 2)
    assert send_notifications(NOW + timedelta(minutes=2)) == 2
    assert CountingBackend.opened == 1


@pytest.mark.parametrize("timeout", [None, 0.2], ids=["without a timeout", "with the host's timeout"])
def test_a_mail_server_that_falls_silent_ends_the_run(settings, monkeypatch, silent_mail_server, timeout):
    if timeout is None:
        monkeypatch.setattr("webhooks_app.notifications.mailer._MAIL_TIMEOUT", 0.2)
    send_by_smtp(settings, silent_mail_server.port, timeout=timeout)
    NotificationFactory.create_batch(6)
    assert send_notifications(NOW) == 0
    assert 1 <= len(silent_mail_server.connections) <= 3, "after three failures it counts as down"
    assert Notification.objects.unsent().filter(claimed_until=None).count() == 6
    send_through(settings, "django.core.mail.backends.locmem.EmailBackend")
    assert send_notifications(NOW) == 6


def test_a_run_whose_time_is_up_leaves_the_rest_to_the_next(settings, monkeypatch):
    settings.ADMINS = ["ops@example.com"]
    NotificationFactory.create_batch(3)
    NotificationFactory(endpoint__tenant__email="")
    with monkeypatch.context() as patch:
        patch.setattr("webhooks_app.notifications.send._RUN_SECONDS", 0.0)
        assert send_notifications(NOW) == 1, "the e-mail to staff, for which time is kept"
    assert Notification.objects.unsent().filter(claimed_until=None).count() == 3
    assert send_notifications(NOW) == 4


def test_a_process_that_stops_leaves_the_rest_to_the_next_run():
    NotificationFactory.create_batch(3)
    assert send_notifications(NOW, stopping=lambda: len(mail.outbox) == 1) == 1
    assert Notification.objects.unsent().filter(claimed_until=None).count() == 2


def test_a_process_that_stops_does_not_wait_for_a_silent_mail_server(settings):
    """Stopping must take less time than the mail server is given."""
    server = SilentMailServer()
    server.start()
    send_by_smtp(settings, server.port, timeout=60.0)
    notification = NotificationFactory()
    assert send_notifications(NOW, stopping=lambda: bool(server.connections)) == 0
    assert Notification.objects.get(pk=notification.pk).claimed_until is None
    server.close()


def test_a_mail_backend_that_never_connects_keeps_one_thread(settings, caplog):
    server = SilentMailServer()
    server.start()
    send_by_smtp(settings, server.port, timeout=60.0)
    notification = NotificationFactory()
    assert send_notifications(NOW, stopping=lambda: bool(server.connections)) == 0
    for _ in range(3):
        assert send_notifications(NOW, stopping=lambda: True) == 0
    assert [thread.name for thread in threading.enumerate()].count("webhooks-mail") == 1
    assert "Give it a timeout" in caplog.text
    server.close()
    send_through(settings, "django.core.mail.backends.locmem.EmailBackend")
    eventually(lambda: send_notifications(NOW) == 1)
    assert Notification.objects.get(pk=notification.pk).sent_at


def test_an_email_that_cannot_be_rendered_stops_no_other(settings):
    broken, good = NotificationFactory(endpoint__description="broken"), NotificationFactory()
    loaders = [
        ("django.template.loaders.locmem.Loader", {"webhooks_app/email/tenant.txt": BREAKABLE}),
        "django.template.loaders.app_directories.Loader",
    ]
    (engine,) = settings.TEMPLATES
    engine = {name: value for name, value in engine.items() if name != "APP_DIRS"}
    settings.TEMPLATES = [{**engine, "OPTIONS": {**engine["OPTIONS"], "loaders": loaders}}]
    assert send_notifications(NOW) == 1
    assert mail.outbox[0].to == [good.tenant.email]
    assert list(Notification.objects.unsent()) == [broken]


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_send_once(settings):
    send_through(settings, f"{HERE}.SlowBackend")
    SlowBackend.meeting.clear()
    for endpoint in EndpointFactory.create_batch(3):
        NotificationFactory(endpoint=endpoint)
    sent: list[int] = []

    def run() -> None:
        try:
            sent.append(send_notifications(NOW))
        finally:
            connection.close()

    runs = [threading.Thread(target=run) for _ in range(2)]
    for each in runs:
        each.start()
    SlowBackend.meeting.set()
    for each in runs:
        each.join(30)
    assert sum(sent) == 3
    assert len({email.to[0] for email in mail.outbox}) == len(mail.outbox) == 3
    assert unsent() == 0
