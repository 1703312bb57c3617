"""A customer's receiver in Python: `python receiver.py <system>`, the secret in RECEIVER_SECRET.

Each function verifies as that system's documentation tells its customers to; Standard Webhooks is left to its own
library. The first line on stdout is {"port": n}, then comes one line of JSON a request: path, verified, body.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = os.environ["RECEIVER_SECRET"]


def hex_digest(raw: bytes) -> str:
    return hmac.new(SECRET.encode("utf-8"), raw, hashlib.sha256).hexdigest()


def msgflash(headers: Mapping[str, str], raw: bytes) -> bool:
    return hmac.compare_digest(headers["x-msgflash-signature"], "sha256=" + hex_digest(raw))


def msgine(headers: Mapping[str, str], raw: bytes) -> bool:
    return hmac.compare_digest(headers["x-msgine-signature"], hex_digest(raw))


def messages_dev(headers: Mapping[str, str], raw: bytes) -> bool:
    return hmac.compare_digest(headers["x-webhook-signature"], hex_digest(raw))


def muchaw(headers: Mapping[str, str], raw: bytes) -> bool:
    return hmac.compare_digest(headers["x-muchaw-signature"], "sha256=" + hex_digest(raw))


def standard(headers: Mapping[str, str], raw: bytes) -> bool:
    return _by_library(SECRET, headers, raw)


def gateway(headers: Mapping[str, str], raw: bytes) -> bool:
    return _by_library(SECRET.encode(), headers, raw)


def _by_library(secret: str | bytes, headers: Mapping[str, str], raw: bytes) -> bool:
    try:
        Webhook(secret).verify(raw, dict(headers))
    except WebhookVerificationError:
        return False
    return True


SYSTEMS = {function.__name__: function for function in (msgflash, msgine, messages_dev, muchaw, standard, gateway)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            json.loads(raw)
            verified = SYSTEMS[sys.argv[1]](headers, raw)
            status = 200 if verified else 401
        except (KeyError, ValueError):
            verified, status = False, 500
        report({"path": self.path, "verified": verified, "status": status, "body": raw.decode(errors="replace")})
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing: stdout and stderr are for verdicts and tracebacks."""


REPORTING = threading.Lock()


def report(line: dict[str, object]) -> None:
    with REPORTING:  # requests are answered at the same time, and each line is to stay whole
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    report({"port": server.server_port})
    sys.stdin.read()  # ends with whoever started this
