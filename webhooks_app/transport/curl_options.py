"""The options of a libcurl handle that are the same for every request."""

from __future__ import annotations

import re
from typing import Any

import pycurl

from webhooks_app.transport.base import TransportOptions

#: How long libcurl may use an address that we resolved: a request begins within it, always.
DNS_CACHE_SECONDS = 60
# Removing libcurl's defaults: no wait for "100 Continue", no form content type, nothing compressed.
BASE_HEADERS = [b"Expect:", b"Content-Type:", b"Accept-Encoding: identity"]
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, which pycurl has no name for
_OPENSSL = re.search(r"OpenSSL/(\d+)\.(\d+)", pycurl.version)
#: TLS without DHE, where the receiver chooses the numbers: with one of 8,192 bits the handshake takes this thread 0.4 s, in
#: which nothing else is sent.
_CIPHERS = "DEFAULT:!kDHE"
#: Before version 3.5, OpenSSL offers DHE with up to 8,192 bits among the groups of TLS 1.3, too.
_GROUPS = "X25519:P-256:P-384:P-521"


def configure(curl: Any, options: TransportOptions, ca_bundle: str) -> None:
    """Set what is the same for every request. Also what is libcurl's default, where safety hangs on it."""
    setopt = curl.setopt
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.FOLLOWLOCATION, 0)
    setopt(pycurl.PROXY, options.proxy)  # empty: none, and none from the environment either
    setopt(pycurl.NOPROXY, "" if options.proxy else "*")
    setopt(pycurl.PROXY_CAINFO, ca_bundle)
    setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # the proxy's headers are not the receiver's
    setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
    setopt(pycurl.HTTP09_ALLOWED, 0)
    setopt(pycurl.HTTP_CONTENT_DECODING, 0)
    setopt(pycurl.USERAGENT, "webhooks-app")  # unless the request brings its own
    setopt(pycurl.SSL_VERIFYPEER, 1)
    setopt(pycurl.SSL_VERIFYHOST, 2)
    setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    if _OPENSSL:
        setopt(pycurl.SSL_CIPHER_LIST, _CIPHERS)
        if (int(_OPENSSL[1]), int(_OPENSSL[2])) < (3, 5):
            setopt(pycurl.SSL_EC_CURVES, _GROUPS)
    setopt(pycurl.CAINFO, ca_bundle)
    setopt(pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS)  # of what we resolved and hand in with each request
    setopt(pycurl.MAXAGE_CONN, 60)  # an idle connection older than this is not tried again
    setopt(pycurl.MAXLIFETIME_CONN, 300)  # so that a receiver which moves is followed
    setopt(pycurl.POST, 1)


def header_line(name: str, value: str) -> bytes:
    return (f"{name}: {value}" if value else f"{name};").encode("latin-1")  # "Name:" would remove the header


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would mean: no limit
