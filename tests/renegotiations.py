"""A receiver that renegotiates TLS 1.2 after the request, with certificates that keep OpenSSL busy for seconds.

Python's servers cannot renegotiate. So the handshake is Python's; the rest is encrypted here, with the keys that it logs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.slow_certificates import SLOW_CERTIFICATE, sized

_CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
_HANDSHAKE, _DATA, _CHANGE_CIPHER = 22, 23, 20


@contextlib.contextmanager
def serve_renegotiations(context: ssl.SSLContext, keys: Path, number: int, head: bytes) -> Iterator[str]:
    """The URL of a server that sends `head` and then shows so many certificates; the client is busy for a fifth of that in
    seconds. `keys`: where to log the keys."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHER)
    context.options |= ssl.OP_NO_TICKET
    context.keylog_filename = str(keys)

    class Renegotiate(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, EOFError):
                connection = _Connection(self.request, context)
                connection.run(connection.tls.do_handshake)
                connection.run(lambda: connection.tls.read(65536))
                own, theirs, send = connection.taken_over(keys)
                if head:
                    send(_DATA, head)
                hello = b"\x02" + sized(3, b"\3\3", os.urandom(32), b"\0\xc0\x2f\0", _extensions(theirs, own))
                send(_HANDSHAKE, b"\0\0\0\0")  # HelloRequest
                send(_HANDSHAKE, hello)
                send(_HANDSHAKE, b"\x0b" + sized(3, sized(3, *[sized(3, SLOW_CERTIFICATE)] * number)))
                while self.request.recv(65536):
                    pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Renegotiate) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}/"
        server.shutdown()


def _extensions(theirs: bytes, own: bytes) -> bytes:
    """extended_master_secret and renegotiation_info."""
    return sized(2, b"\0\x17\0\0\xff\x01" + sized(2, sized(1, theirs, own)))


class _Connection:
    """A TLS connection of a server, whose records are seen."""

    def __init__(self, socket: Any, context: ssl.SSLContext) -> None:
        self._socket = socket
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._received = self._sent = b""

    def run(self, act: Callable[[], object]) -> None:
        while True:
            try:
                act()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._socket.recv(65536)
                if not data:
                    raise EOFError from None
                self._received += data
                self._in.write(data)
            else:
                self._flush()
                return

    def _flush(self) -> None:
        data = self._out.read()
        self._sent += data
        self._socket.sendall(data)

    def taken_over(self, log: Path) -> tuple[bytes, bytes, Callable[[int, bytes], None]]:
        """The verify data of both Finished messages, of this side first, and what encrypts and sends from now on."""
        received, sent = _records(self._received), _records(self._sent)
        client_random, server_random = received[0][1][6:38], sent[0][1][6:38]
        lines = (line.split() for line in log.read_text().splitlines())
        (master,) = (bytes.fromhex(words[2]) for words in lines if words[1:2] == [client_random.hex()])
        block = _prf(master, b"key expansion" + server_random + client_random, 40)
        their_key, own_key, their_iv, own_iv = block[:16], block[16:32], block[32:36], block[36:40]
        count = 1  # after Finished

        def send(kind: int, data: bytes) -> None:
            nonlocal count
            for start in range(0, len(data), 16_000):
                piece, nonce = data[start : start + 16_000], count.to_bytes(8, "big")
                header = struct.pack(">QBHH", count, kind, 0x303, len(piece))
                sealed = nonce + AESGCM(own_key).encrypt(own_iv + nonce, piece, header)
                self._socket.sendall(bytes([kind]) + b"\3\3" + sized(2, sealed))
                count += 1

        return _verify_data(sent, own_key, own_iv), _verify_data(received, their_key, their_iv), send


def _records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 5:
        size = int.from_bytes(data[3:5], "big")
        found.append((data[0], data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def _verify_data(records: list[tuple[int, bytes]], key: bytes, iv: bytes) -> bytes:
    changed = next(place for place, (kind, _) in enumerate(records) if kind == _CHANGE_CIPHER)
    sealed = records[changed + 1][1]
    header = struct.pack(">QBHH", 0, _HANDSHAKE, 0x303, len(sealed) - 24)
    return AESGCM(key).decrypt(iv + sealed[:8], sealed[8:], header)[4:16]


def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246, section 5)."""
    found, step = b"", seed
    while len(found) < size:
        step = hmac.digest(secret, step, hashlib.sha256)
        found += hmac.digest(secret, step + seed, hashlib.sha256)
    return found[:size]
