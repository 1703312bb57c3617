"""The options of a libcurl handle that belong to one request."""

from __future__ import annotations

from typing import Any

import pycurl

from webhooks_app.transport.base import Request
from webhooks_app.transport.validation import target_of

# Remove libcurl's defaults: do not wait for "100 Continue", send no form content type, ask for no compression.
_BASE_HEADERS = [b"Expect:", b"Content-Type:", b"Accept-Encoding: identity"]


class RequestOptions:
    """Sets the options of one request after the other on an easy handle. What has not changed is not set again."""

    __slots__ = ("_by_proxy", "_connect_timeout", "_curl", "_total_timeout", "_url", "is_https", "resolve")

    def __init__(self, curl: Any, *, by_proxy: bool) -> None:
        self._curl = curl
        self._by_proxy = by_proxy
        self._connect_timeout = self._total_timeout = -1.0
        self._url = self.resolve = ""
        self.is_https = False

    def load(self, request: Request, seconds: float, resolve: str) -> None:
        """Set the options of a checked request, which may take `seconds` from now. `resolve`: see
        `curl_options.resolve_option`."""
        setopt = self._curl.setopt
        if request.url != self._url:
            setopt(pycurl.URL, request.url)
            setopt(pycurl.REQUEST_TARGET, target_of(request.url))
            self._url = request.url
            self.is_https = request.url.startswith("https:")
        if resolve or self.resolve:
            # Set it every time: libcurl forgets it after DNS_CACHE_TIMEOUT, and would then resolve the name itself.
            setopt(pycurl.CONNECT_TO if self._by_proxy else pycurl.RESOLVE, [resolve] if resolve else [])
            self.resolve = resolve
        if request.connect_timeout != self._connect_timeout:
            setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(request.connect_timeout))
            self._connect_timeout = request.connect_timeout
        if seconds != self._total_timeout:
            setopt(pycurl.TIMEOUT_MS, _milliseconds(seconds))
            self._total_timeout = seconds
        # "Name:" would remove the header.
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        setopt(pycurl.HTTPHEADER, _BASE_HEADERS + [line.encode("latin-1") for line in lines])
        setopt(pycurl.POSTFIELDS, request.body)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would mean no limit
