"""Shapes of what comes in and goes out. Values are checked when they are saved; here only their kind is."""

from webhooks_app.core.retry import OutcomeKind

#: What a request came to.
OUTCOMES = [kind.value for kind in OutcomeKind]
