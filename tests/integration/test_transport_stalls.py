"""Where this process stood still, a timeout is a fault on our side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests import transports
from tests.pipelines import Gate
from tests.receiver import Receiver
from tests.receiver_behaviours import Hang
from tests.stalls import stall
from tests.transports import gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import OurFault, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

#: A process that is stopped while its request is in flight. It prints when it may be stopped, and then the response.
STOPPED = """
import sys
from tests.transports import LOOPBACK, gather, request
from webhooks_app.transport import TransportOptions, open_transport

transport = open_transport(TransportOptions(LOOPBACK), sys.argv[1])
transport.start(request(sys.argv[2], total=1.5))
assert transport.wait(0.1) == []
print("now", flush=True)
[response] = gather(transport)
print(response.status or response.our_fault or response.failure)
transport.close()
"""


def test_a_deadline_that_passes_while_the_process_stands_still_is_our_fault(
    transport: Transport, receiver: Receiver
) -> None:
    receiver.on("/hang", Hang())
    with stall(0.5, 1.8):
        response = send(transport, receiver.url("/hang"), total=1.5)
    assert (response.status, response.failure) == (None, OutcomeKind.NOT_SENT)
    assert response.our_fault == OurFault.STALLED
    assert "stood still" in response.detail


def test_a_response_that_came_while_the_process_was_stopped_is_no_timeout(
    transport_name: str, receiver: Receiver
) -> None:
    gate = Gate()
    receiver.on("/slow", gate)
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED, transport_name, receiver.url("/slow")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGSTOP)
        gate.open()
        time.sleep(2.5)
        child.send_signal(signal.SIGCONT)
        outcome = child.stdout.read().strip()
    # The response itself, where a thread reads it first.
    assert outcome in ("200", "stalled")


def test_a_loop_that_nobody_drives_is_a_stall(transport: Transport, receiver: Receiver) -> None:
    gate = Gate()
    receiver.on("/slow", gate)
    transport.start(request(receiver.url("/slow"), total=1.0))
    assert transport.wait(0.05) == []
    gate.open()
    time.sleep(1.8)
    [response] = gather(transport)
    assert response.failure in (None, OutcomeKind.NOT_SENT)


def test_a_timeout_long_after_a_stall_is_the_receivers(transport: Transport, receiver: Receiver) -> None:
    receiver.on("/hang", Hang())
    with stall(0.2, 1.0):
        response = send(transport, receiver.url("/hang"), total=3.0)
    assert (response.failure, response.our_fault) == (OutcomeKind.TIMEOUT, "")
