"""A separate `/metrics` server, for processes that are not web servers: `webhooks_deliver` and Celery workers."""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from django.db import connections

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.telemetry.exposition import CONTENT_TYPE, render

logger = logging.getLogger(__name__)

#: The longest wait for the previous scrape (seconds).
_PATIENCE = 5.0
_scraping = Lock()


def serve(port: int, address: str | None = None) -> ThreadingHTTPServer:
    """Start the server in a daemon thread; `shutdown()` and `server_close()` of the result end it.

    Without METRICS_TOKEN it listens on loopback only, unless `address` says otherwise. Raises ConfigurationError if METRICS
    has no "prometheus", and OSError if the port is in use.
    """
    chosen = settings().MONITORING
    if "prometheus" not in chosen.METRICS:
        raise ConfigurationError(
            "WEBHOOKS['MONITORING']['METRICS'] does not contain \"prometheus\", so there are no metrics to serve. Add it.",
            field="METRICS",
        )
    if address is None:
        address = "" if chosen.METRICS_TOKEN else "127.0.0.1"
    server = _Server((address, port), _Handler)
    Thread(target=server.serve_forever, name="webhooks-metrics", daemon=True).start()
    return server


def token_matches(header: str, token: str) -> bool:
    """Return whether an Authorization header carries this bearer token. The time it takes does not depend on the text."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


class _Handler(BaseHTTPRequestHandler):
    """GET /metrics, with the token of METRICS_TOKEN if it is set."""

    timeout = 10.0
    server_version = "webhooks"
    sys_version = ""

    def do_GET(self) -> None:
        token = settings().MONITORING.METRICS_TOKEN
        if self.path.partition("?")[0] != "/metrics":
            self._send(HTTPStatus.NOT_FOUND, b"Only /metrics is here.\n")
        elif token and not token_matches(self.headers.get("Authorization", ""), token):
            self._send(HTTPStatus.UNAUTHORIZED, b"A bearer token is required.\n")
        elif not _scraping.acquire(timeout=_PATIENCE):
            # Each scrape uses its own database connection: never more than one at a time.
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"Another scrape is still running.\n")
        else:
            self._send(HTTPStatus.OK, self._render(), CONTENT_TYPE)

    def _render(self) -> bytes:
        try:
            return render()
        finally:
            connections.close_all()  # this thread ends, and its connection with it
            _scraping.release()

    def _send(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        logger.debug("webhooks: metrics: %s", format % args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
