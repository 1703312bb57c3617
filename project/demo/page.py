"""The receiver's page: the latest requests, and whether their signatures were valid."""

import time
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="2">
<title>Demo receiver</title>
<link rel="icon" href="data:,">
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1.25rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid #8886; }}
  td:last-child {{ overflow-wrap: anywhere; }}
  td:not(:last-child) {{ white-space: nowrap; }}
  @media (max-width: 48rem) {{
    thead {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
    tr {{ display: block; padding: .5rem 0; border-bottom: 1px solid #8886; }}
    td {{ display: inline-block; border: 0; padding: 0 .75rem 0 0; }}
    td:nth-last-child(-n + 2) {{ display: block; overflow-wrap: anywhere; white-space: normal; }}
  }}
</style>
</head>
<body>
<h1>Demo receiver</h1>
<p>A stranger's server, as far as the sender knows. It plays {endpoints}, and checks every signature with its own
code. The latest requests come first; this page renews itself.</p>
<table>
<thead><tr><th scope="col">Time</th><th scope="col">Endpoint</th><th scope="col">Signature</th>
<th scope="col">Answer</th><th scope="col">webhook-id</th><th scope="col">Body</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</body>
</html>"""


class Received(NamedTuple):
    """One request on the page. `status` is None if there was no response."""

    at: float
    path: str
    status: int | None
    verified: bool
    message_id: str
    body: bytes


def page(endpoints: Iterable[str], latest: Iterable[Received]) -> str:
    """Return the whole page as HTML."""
    rows = "".join(map(_row, latest)) or '<tr><td colspan="6">Nothing yet. Send a message.</td></tr>'
    return PAGE.format(rows=rows, endpoints=escape(", ".join(f"/{key}" for key in endpoints)))


def _row(received: Received) -> str:
    cells = (
        time.strftime("%H:%M:%S", time.localtime(received.at)),
        received.path,
        "✓ verified" if received.verified else "✗ NOT VERIFIED",
        "none" if received.status is None else str(received.status),
        received.message_id,
        received.body.decode("utf-8", "replace"),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n"
