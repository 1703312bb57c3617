"""Serializers of requests and responses. They check only types; values are checked when they are saved."""

from webhooks_app.core.retry import OutcomeKind

#: The possible outcomes of a request.
OUTCOMES = [kind.value for kind in OutcomeKind]
