"""A journey: the receiver demands a client certificate, and has a certificate of a private authority."""

from __future__ import annotations

import os
from pathlib import Path

from tests.browser.customer import add_webhook
from tests.browser.reader import Reader
from tests.receiver import Authority, Receiver


def test_certificates_are_uploaded_used_and_removed(reader: Reader, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.client_pems("acme")
    files = {"crt": certificate, "key": key}
    for name, text in files.items():
        (tmp_path / f"client.{name}").write_text(text)
    with Receiver(tls=authority.demanding(authority.context("127.0.0.1"))) as receiver:
        reader.logs_in(reader.live.manager())
        webhook = add_webhook(reader, receiver.url("/hook"))
        reader.goes(webhook.page)
        reader.sees("None. Add a client certificate")
        _look(reader, "none")
        reader.presses("Send test event")
        reader.sees("No secure connection to your server could be made.")

        reader.goes(webhook.page)
        reader.follows("Change the certificates")
        reader.finds_it_usable()
        _look(reader, "form")
        page = reader.page
        page.get_by_label("Certificate authorities optional").fill(authority.pem)
        page.get_by_label("Client certificate as a file").set_input_files(tmp_path / "client.crt")
        reader.presses("Save certificates")
        reader.sees("Give the private key that belongs to the certificate.")
        reader.sees("Enter all texts again")
        reader.finds_it_usable()
        _look(reader, "error")
        page.get_by_label("Certificate authorities optional").fill(authority.pem)
        page.get_by_label("Client certificate as a file").set_input_files(tmp_path / "client.crt")
        page.get_by_label("Private key as a file").set_input_files(tmp_path / "client.key")
        reader.presses("Save certificates")
        reader.sees("The certificates are saved.")
        reader.sees("CN=acme")
        reader.finds_it_usable()
        _look(reader, "saved")
        reader.presses("Send test event")
        assert receiver.wait_for(1, timeout=30)[0].client == "acme"

        reader.goes(f"{webhook.page}/certificates")
        _look(reader, "change")
        page.get_by_label("Remove the client certificate").check()
        page.get_by_label("Remove the certificate authorities").check()
        reader.presses("Save certificates")
        reader.sees("None. Add a client certificate")


def _look(reader: Reader, name: str) -> None:
    """Keep pictures of the page, where a folder for them is given."""
    if folder := os.environ.get("PICTURES"):
        for width in (1280, 375):
            reader.page.set_viewport_size({"width": width, "height": 900})
            reader.page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True, caret="initial")
        reader.page.set_viewport_size({"width": 1280, "height": 800})
