"""Access tokens of endpoints that authenticate with OAuth 2.0 client credentials: get them, keep them, share them.

A token request is sent by the same transport as deliveries. Meanwhile the deliveries that need the token wait in memory, and
count as in flight: a token server that hangs costs its endpoints and its tenant what a receiver that hangs would. The token
request counts at its own host; while the limits there do not allow it, the endpoint's queue waits as for its own host.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field

from webhooks_app.core.authentication import AccessToken, Authentication
from webhooks_app.core.retry import Outcome, OutcomeKind
from webhooks_app.core.token_request import MAX_RESPONSE, TokenRefused, failure_in_words, read_token, token_request
from webhooks_app.engine.leased_queue import LeasedQueue
from webhooks_app.engine.types import EndpointConfig, QueuedDelivery, TokenFetch
from webhooks_app.engine.window import Window
from webhooks_app.transport import Request, Response, Transport

#: How many tokens a process keeps; the one used least recently is dropped first.
_MOST_KEPT = 8192


@dataclass(slots=True)
class _Kept:
    """A token, the authentication that it was issued for, and until when (monotonic) to use it."""

    authentication: Authentication
    token: AccessToken = field(repr=False)
    until: float
    #: The receiver has accepted it.
    accepted: bool = False


class TokenCache:
    """The tokens of a process, one per endpoint. Thread-safe: a process may run several engines at once, or one after another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[uuid.UUID, _Kept] = OrderedDict()

    def get(self, config: EndpointConfig) -> AccessToken | None:
        """Return the endpoint's token; None if there is none, or if it is too old or for another authentication."""
        with self._lock:
            kept = self._kept.get(config.endpoint_id)
            if kept is None or kept.authentication != config.authentication or kept.until <= time.monotonic():
                return None
            self._kept.move_to_end(config.endpoint_id)
            return kept.token

    def put(self, config: EndpointConfig, token: AccessToken) -> None:
        """Keep a new token."""
        if config.authentication is None:
            return
        with self._lock:
            self._kept[config.endpoint_id] = _Kept(config.authentication, token, time.monotonic() + token.seconds)
            self._kept.move_to_end(config.endpoint_id)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    def note_accepted(self, endpoint_id: uuid.UUID, token: AccessToken) -> None:
        """Note that the receiver has accepted this token."""
        with self._lock:
            kept = self._kept.get(endpoint_id)
            if kept is not None and kept.token is token:
                kept.accepted = True

    def drop(self, endpoint_id: uuid.UUID, token: AccessToken) -> bool:
        """Forget this token, which the receiver has refused. Return whether another one may help: the receiver had accepted this
        one before, or there is another one by now."""
        with self._lock:
            kept = self._kept.get(endpoint_id)
            if kept is None or kept.token is not token:
                return True
            del self._kept[endpoint_id]
            return kept.accepted


#: Those of this process. They are not stored: a restarted process gets new ones.
token_cache = TokenCache()


class TokenFetches:
    """The token requests of one engine: at most one per endpoint and authentication. Used by the sending thread only."""

    def __init__(self, transport: Transport, window: Window, agent: str) -> None:
        self._transport = transport
        self._window, self._places = window, window.token_places
        self._agent = agent
        self._running: dict[uuid.UUID, TokenFetch] = {}
        self._places.lacks_token = self._lacks_token

    def is_ready(self, delivery: QueuedDelivery, queue: LeasedQueue) -> bool:
        """Return whether the request of the delivery can be built. If not, it waits for an access token, or was put back because
        the token cannot be requested now."""
        config = queue.config
        if config.authentication is None or not config.authentication.needs_token or delivery.access_token is not None:
            return True
        delivery.access_token = token_cache.get(config)
        if delivery.access_token is not None:
            return True
        fetch = self._running_for(config)
        if fetch is not None:
            self._places.share(fetch, delivery)
            return False
        fetch = TokenFetch(config, [delivery])
        request = access_token_request(fetch, config, self._agent)
        if not self._places.begin(fetch, delivery, queue, time.monotonic()):
            self._window.put_back([delivery])
            return False
        try:
            self._transport.start(request)
        except BaseException:
            self._places.end(fetch)
            raise
        self._running[config.endpoint_id] = fetch
        return False

    def _lacks_token(self, config: EndpointConfig) -> bool:
        return token_cache.get(config) is None and self._running_for(config) is None

    def _running_for(self, config: EndpointConfig) -> TokenFetch | None:
        fetch = self._running.get(config.endpoint_id)
        return fetch if fetch is not None and fetch.config is config else None

    def replaces(self, delivery: QueuedDelivery, outcome: Outcome) -> bool:
        """Note what the receiver made of the delivery's access token. Return whether to send the request again with a new token:
        after a 401, once, if the receiver had accepted the token before."""
        token = delivery.access_token
        if token is None:
            return False
        if outcome.succeeded:
            token_cache.note_accepted(delivery.endpoint_id, token)
        if outcome.status != 401 or not token_cache.drop(delivery.endpoint_id, token) or delivery.token_replaced:
            return False
        delivery.access_token, delivery.token_replaced = None, True
        return True

    def end(self, fetch: TokenFetch, response: Response) -> Outcome | None:
        """Give the token to the deliveries that wait, or return why there is none."""
        self._places.end(fetch)
        if self._running.get(fetch.endpoint_id) is fetch:
            del self._running[fetch.endpoint_id]
        token = access_token_in(response)
        if isinstance(token, Outcome):
            return token
        token_cache.put(fetch.config, token)
        for delivery in fetch.waiting:
            delivery.access_token = token
        return None


def access_token_request(token: object, config: EndpointConfig, agent: str) -> Request:
    """Return the request for the endpoint's access token. `token`: the transport's own, returned with the response."""
    assert config.authentication is not None
    asked, wire_format = token_request(config.authentication, agent), config.wire_format
    timeouts = wire_format.connect_timeout, wire_format.total_timeout
    owner = config.tenant_id
    return Request(token, asked.url, asked.headers, asked.body, *timeouts, owner=owner, least_body=MAX_RESPONSE)


def access_token_in(response: Response) -> AccessToken | Outcome:
    """Return the access token in a response of the token server, or the outcome of the deliveries that need it.

    Nothing that the token server wrote is in the outcome: it may repeat the client secret.
    """
    if response.failure is OutcomeKind.NOT_SENT:
        return Outcome(OutcomeKind.NOT_SENT, detail=response.detail)  # a fault on our side
    try:
        if response.status is not None:
            return read_token(response.status, response.body, truncated=response.truncated)
        detail = failure_in_words(response.failure or OutcomeKind.PROTOCOL_ERROR)
    except TokenRefused as error:
        detail = str(error)
    return Outcome(OutcomeKind.AUTHENTICATION_FAILED, detail=detail)


def without_content(response: Response) -> Response:
    """Return the response with its duration and address only, to record an attempt whose receiver was not asked."""
    return Response(response.token, None, b"", b"", response.duration, response.failure, address=response.address)
