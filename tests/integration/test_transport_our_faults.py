"""Faults on our side are NOT_SENT with their name, and never "refused": the receiver has nothing to do with them."""

from __future__ import annotations

import ast
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from tests.transports import LOOPBACK, Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

CHILD_ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "DJANGO_SETTINGS_MODULE": "project.settings_test",
}


#: What a child process of its own does: in this one, threads of other tests close files whenever they like.
WITHOUT_DESCRIPTORS = """
import contextlib, os, resource, sys
from tests.transports import LOOPBACK, gather, request, send
from webhooks_app.transport import TransportOptions, open_transport

@contextlib.contextmanager
def free_descriptors(number):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    for _ in range(number):
        os.close(taken.pop())
    yield
    for fd in taken:
        os.close(fd)

def told(response):
    return response.status or (response.failure.value, response.our_fault, bool(response.detail))

name, script, *urls = sys.argv[1:]
transport = open_transport(TransportOptions(LOOPBACK), name)
exec(script)
transport.close()
"""
OUT_OF_DESCRIPTORS = ("not_sent", "descriptors", True)


def run_without_descriptors(script: str, transport_name: str, *urls: str) -> list[object]:
    """Run `script` in a process that may lack descriptors; return what it prints, a Python literal each line."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, transport_name, script, *urls],
        capture_output=True,
        text=True,
        timeout=60,
        env=CHILD_ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


class TestNoFreeDescriptor:
    # One descriptor is enough for a socket, but not for the duplicate that each transport needs of it.
    @pytest.mark.parametrize("free", [0, 1])
    def test_is_our_fault(self, transport_name: str, receiver: Receiver, free: int) -> None:
        script = f"""if True:
            print(told(send(transport, urls[0])))  # what is opened once is open
            with free_descriptors({free}):
                print(told(send(transport, urls[1])))
            print(told(send(transport, urls[1])))"""
        with Receiver() as another:
            printed = run_without_descriptors(script, transport_name, receiver.url("/before"), another.url())
        assert printed == [200, OUT_OF_DESCRIPTORS, 200]

    def test_is_our_fault_where_a_name_cannot_be_resolved_for_it(self, transport_name: str) -> None:
        script = """if True:
            with free_descriptors(0):
                print(told(send(transport, "http://nonexistent.invalid/", total=20.0)))"""
        assert run_without_descriptors(script, transport_name) == [OUT_OF_DESCRIPTORS]

    def test_is_over_as_soon_as_there_are_some(self, transport_name: str, receiver: Receiver) -> None:
        script = """if True:
            def thirty():
                for number in range(30):
                    transport.start(request(urls[0], number))
                return sorted(told(one) for one in gather(transport, 30))
            with free_descriptors(0):
                print(thirty())
            print(thirty())
            print(transport.in_flight)"""
        assert run_without_descriptors(script, transport_name, receiver.url()) == [
            [OUT_OF_DESCRIPTORS] * 30,
            [200] * 30,
            0,
        ]


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.EMFILE, "descriptors"),
        (errno.ENFILE, "descriptors"),
        (errno.ENOMEM, "memory"),
        (errno.ENOBUFS, "memory"),
        (errno.EADDRNOTAVAIL, "ports"),
        (errno.EAGAIN, "ports"),
    ],
)
def test_errors_of_the_operating_system(
    transport: Transport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, number: int, fault: str
) -> None:
    """`socket()` fails, as it does on a host without resources."""

    def fails(self: socket.socket, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "__init__", fails)
        response = send(transport, receiver.url())
    assert (response.failure, response.our_fault) == (OutcomeKind.NOT_SENT, fault)
    assert os.strerror(number) in response.detail
    assert send(transport, receiver.url()).status == 200


NO_PORTS = """
import sys
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from tests.transports import LOOPBACK, gather, request
from webhooks_app.transport import TransportOptions, open_transport
transport = open_transport(TransportOptions(LOOPBACK), sys.argv[1])
with Receiver() as receiver:
    receiver.on("/", Hang())
    for number in range(9):
        transport.start(request(receiver.url(), number, total=2.0))
    print(sorted((one.failure.value, one.our_fault) for one in gather(transport, 9)))
transport.close()
"""


NO_IPV6 = """
import sys
from tests.transports import PORTS, gather, request
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.transport import TransportOptions, open_transport
policy = AddressPolicy(allow_http=True, ports=PORTS, allowed_networks=("::1/128",))
transport = open_transport(TransportOptions(policy), sys.argv[1])
transport.start(request("http://[::1]:9/"))
[response] = gather(transport)
print(response.failure.value, response.our_fault)
transport.close()
"""


def run_in_namespace(prepare: str, script: str, transport_name: str) -> str:
    """Run a script in a network of its own and return what it prints."""
    namespace = ["unshare", "--net", "sh", "-c"]
    try:
        if subprocess.run([*namespace, prepare], capture_output=True).returncode:
            pytest.skip("needs a network namespace")
    except FileNotFoundError:
        pytest.skip("needs unshare")
    done = subprocess.run(
        [*namespace, f'{prepare} && exec "$0" -c "$1" "$2"', sys.executable, script, transport_name],
        capture_output=True,
        text=True,
        timeout=60,
        env=CHILD_ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_free_local_port_is_our_fault(transport_name: str) -> None:
    prepare = "ip link set lo up && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range"
    printed = run_in_namespace(prepare, NO_PORTS, transport_name)
    assert printed.count("('not_sent', 'ports')") >= 5, printed
    assert "refused" not in printed


def test_a_host_without_ipv6_cannot_reach_a_receiver_that_has_nothing_else(transport_name: str) -> None:
    """As before, this counts as no connection; the error number is the one of missing ports."""
    prepare = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    assert run_in_namespace(prepare, NO_IPV6, transport_name).split() == ["refused"]


def test_a_receiver_that_refuses_is_not_our_fault(open_one: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    response = send(open_one(LOOPBACK), f"http://127.0.0.1:{port}/")
    assert (response.failure, response.our_fault) == (OutcomeKind.REFUSED, "")


def test_no_place_before_the_deadline_is_our_fault(open_one: Open, receiver: Receiver) -> None:
    receiver.on("/", Hang())
    transport = open_one(concurrency=1)
    transport.start(request(receiver.url(), "first", total=0.6))
    transport.start(request(receiver.url(), "second", total=0.3))
    responses = {one.token: one for one in gather(transport, 2)}
    assert (responses["second"].failure, responses["second"].our_fault) == (OutcomeKind.NOT_SENT, "capacity")
