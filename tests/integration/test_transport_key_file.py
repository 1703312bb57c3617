"""The `requests` transport needs a file with the private key for a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SEND_ONE = """
import os, sys, tempfile
from tests.receiver import Authority, Receiver
from tests.transports import LOOPBACK, gather, request
from pathlib import Path
from webhooks_app.core.client_tls import ClientTLS
from webhooks_app.transport import TransportOptions, open_transport
written = []
def look(event, arguments):
    if event == "os.remove" and str(arguments[0]).startswith(sys.argv[1]):
        written.append((open(arguments[0]).read(), os.stat(arguments[0]).st_mode & 0o777))
sys.addaudithook(look)
authority = Authority(Path(sys.argv[3]))
chain, key = authority.client_pems("acme")
context = authority.demanding(authority.context("localhost"))
if sys.argv[2] == "no memfd":
    del os.memfd_create
tempfile.tempdir = sys.argv[1]
with Receiver(tls=context) as receiver:
    transport = open_transport(TransportOptions(addresses=LOOPBACK, ca_bundle=authority.bundle), "requests")
    tls = ClientTLS(chain.encode(), key.encode())
    transport.start(request(receiver.url(host="localhost"), tls=tls))
    print(gather(transport)[0].status, len(os.listdir(sys.argv[1])))
    transport.close()
for text, mode in written:
    print("ENCRYPTED PRIVATE KEY" in text, "BEGIN PRIVATE KEY" in text or "BEGIN EC" in text, oct(mode))
"""


@pytest.mark.parametrize(
    ("way", "printed"), [("memfd", ["200 0"]), ("no memfd", ["200 0", "True False 0o600"])], ids=["memfd", "file"]
)
def test_the_private_key_is_never_in_a_file_that_can_be_read(way: str, printed: list[str], tmp_path: Path) -> None:
    """In a process of its own, since the test takes a function of the system away."""
    folders = [tmp_path / "temporary", tmp_path / "authority"]
    for folder in folders:
        folder.mkdir()
    command = [sys.executable, "-c", _SEND_ONE, str(folders[0]), way, str(folders[1])]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings_test"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == printed, done.stderr
