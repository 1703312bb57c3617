"""Shapes of what comes in and goes out. What a value may be is checked by `actions/`; here only which kind it is."""

from webhooks_app.core.retry import OutcomeKind

#: What a request came to.
OUTCOMES = [kind.value for kind in OutcomeKind]
