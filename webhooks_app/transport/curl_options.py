"""The options of a libcurl handle that are the same for every request."""

from __future__ import annotations

import re
from typing import Any

import pycurl

from webhooks_app.core.proxies import Proxy
from webhooks_app.transport.connection_check import address_for_proxy
from webhooks_app.transport.validation import Place

#: How long libcurl may use an address that we resolved. Every request starts within this time.
DNS_CACHE_SECONDS = 60
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS; pycurl does not define it
_SOCKS5_AUTH = 267  # CURLOPT_SOCKS5_AUTH; neither this one
_OPENSSL = re.search(r"OpenSSL/(\d+)\.(\d+)", pycurl.version)
#: TLS without DHE, because the receiver chooses the group: with 8,192 bits the handshake blocks this thread for 0.4 s, and
#: nothing else is sent.
_CIPHERS = "DEFAULT:!kDHE"
#: OpenSSL before 3.5 also offers DHE with up to 8,192 bits among the groups of TLS 1.3.
_GROUPS = "X25519:P-256:P-384:P-521"


def configure(curl: Any, proxy: Proxy | None, ca_bundle: str) -> None:
    """Set the options that are the same for every request. Security options are set even if they are libcurl's default."""
    setopt = curl.setopt
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.FOLLOWLOCATION, 0)
    _configure_proxy(curl, proxy, ca_bundle)
    setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
    setopt(pycurl.HTTP09_ALLOWED, 0)
    setopt(pycurl.HTTP_CONTENT_DECODING, 0)
    setopt(pycurl.USERAGENT, "webhooks-app")  # unless the request has its own
    setopt(pycurl.SSL_VERIFYPEER, 1)
    setopt(pycurl.SSL_VERIFYHOST, 2)
    setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    if _OPENSSL:
        setopt(pycurl.SSL_CIPHER_LIST, _CIPHERS)
        if (int(_OPENSSL[1]), int(_OPENSSL[2])) < (3, 5):
            setopt(pycurl.SSL_EC_CURVES, _GROUPS)
    setopt(pycurl.CAINFO, ca_bundle)
    setopt(pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS)  # for the addresses that we resolve and pass with each request
    setopt(pycurl.MAXAGE_CONN, 60)  # an idle connection older than this is not reused
    setopt(pycurl.MAXLIFETIME_CONN, 300)  # so that a changed address of a receiver is noticed
    setopt(pycurl.POST, 1)


def _configure_proxy(curl: Any, proxy: Proxy | None, ca_bundle: str) -> None:
    setopt = curl.setopt
    if proxy is None:
        setopt(pycurl.PROXY, "")  # not even one from the environment
        setopt(pycurl.NOPROXY, "*")
        return
    setopt(pycurl.PROXY, f"{proxy.scheme}://{proxy.name}")
    setopt(pycurl.NOPROXY, "")
    if proxy.user:
        setopt(pycurl.PROXYUSERNAME, proxy.user)
        setopt(pycurl.PROXYPASSWORD, proxy.password)
    setopt(_SOCKS5_AUTH, pycurl.HTTPAUTH_BASIC)  # user name and password; with GSSAPI libcurl blocks
    setopt(pycurl.HTTPPROXYTUNNEL, 1)  # for http URLs, too: this separates its responses from the receiver's
    setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)  # the request's headers are for the receiver
    setopt(pycurl.PROXY_CAINFO, ca_bundle)
    setopt(pycurl.PROXY_SSL_VERIFYPEER, 1)
    setopt(pycurl.PROXY_SSL_VERIFYHOST, 2)
    setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # the headers of the proxy are not part of the response


def resolve_option(place: Place, addresses: tuple[str, ...], *, by_proxy: bool) -> str:
    """Return the value of RESOLVE that makes libcurl connect to these addresses; or of CONNECT_TO, for an egress proxy.

    Empty if the URL contains the address. Host, SNI and the certificate keep using the host name.
    """
    if place.literal:
        return ""
    if by_proxy:
        return f"{place.host}:{place.port}:{_bracketed(address_for_proxy(addresses))}:{place.port}"
    return f"+{place.host}:{place.port}:{','.join(map(_bracketed, addresses))}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
