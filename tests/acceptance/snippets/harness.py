"""Serve snippets as a customer would, in a process of their own, and send requests to them.

with serve("php", {"standard": WIRE_FORMAT}, folder) as served:
    assert served.ask("standard", body, headers, secret) == 204
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.acceptance.languages import program
from webhooks_app.snippets import LANGUAGES, Language, snippet
from webhooks_app.wire_formats.base import WireFormat

HERE = Path(__file__).parent
_STARTED = re.compile(r"http://127\.0\.0\.1:\d+")


class Served:
    """A running server of one language's snippets."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session

    def ask(self, name: str, body: bytes, headers: Mapping[str, str | bytes], secret: str) -> int:
        """The status with which that wire format's snippet answers, when it knows this secret. An exception is 500."""
        everything = {**headers, "Test-Secret": base64.b64encode(secret.encode()).decode()}
        return self._session.post(f"{self._url}/{name}", data=body, headers=everything, timeout=30).status_code


@contextmanager
def serve(language_name: str, wire_formats: Mapping[str, WireFormat], folder: Path) -> Iterator[Served]:
    """Write a snippet for each wire format, exactly as it is shown, into `folder`, and serve them."""
    [language] = [one for one in LANGUAGES if one.name == language_name]
    command = _command(language, wire_formats, folder)
    log = folder / "log.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "SNIPPETS": str(folder)}
        ) as process,
        requests.Session() as session,
    ):
        session.trust_env = False
        try:
            yield Served(_url(process, log), session)
        finally:
            process.kill()
            process.wait()


def _command(language: Language, wire_formats: Mapping[str, WireFormat], folder: Path) -> list[str | Path]:
    """Write the snippets, and say how they are served."""
    if language.name == "go":
        return [_build(language, wire_formats, folder)]
    for name, wire_format in wire_formats.items():
        (folder / f"{name}.{language.ending}").write_text(snippet(wire_format, language), encoding="utf-8")
    server = HERE / f"serve.{language.ending}"
    if language.name == "python":
        return [sys.executable, "-I", "-S", server, folder]  # the standard library alone
    if language.name == "php":
        # Shows errors, as a development set-up does: PHP then answers 200 where an exception is not caught.
        return [program("php"), "-n", "-d", "display_errors=1", "-S", "127.0.0.1:0", server]
    return [program(language.name), server, folder]


def _build(language: Language, wire_formats: Mapping[str, WireFormat], folder: Path) -> Path:
    """One program of all snippets, a package each."""
    go = program("go")
    shutil.copy(HERE / "serve.go", folder)
    (folder / "go.mod").write_text("module snippets\n\ngo 1.19\n")
    for name, wire_format in wire_formats.items():
        (folder / name).mkdir()
        (folder / name / "webhook.go").write_text(snippet(wire_format, language), encoding="utf-8")
    imports = "".join(f'\t{name} "snippets/{name}"\n' for name in wire_formats)
    routes = "".join(f'\t"{name}": {name}.Receive,\n' for name in wire_formats)
    (folder / "routes.go").write_text(
        f'package main\n\nimport (\n\t"net/http"\n{imports})\n\nvar routes = map[string]http.HandlerFunc{{\n{routes}}}\n'
    )
    # Nothing of the caller's, who may have no home directory, and nothing from the network.
    own = {"GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    built = subprocess.run(
        [go, "build", "-o", "serve", "."], cwd=folder, env={**os.environ, **own}, capture_output=True, check=False
    )
    assert built.returncode == 0, built.stderr.decode()
    return folder / "serve"


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        started = _STARTED.search(log.read_text(errors="replace"))
        if started:
            return started[0]
        time.sleep(0.01)
    raise AssertionError(f"The server did not start: {log.read_text(errors='replace')}")
