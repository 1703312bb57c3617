"""Explain the outcome of a request in plain words, for customers, who can fix it, and for staff. Each outcome is defined once
for both."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webhooks_app.core import tls_alerts
from webhooks_app.core.retry import OutcomeKind

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one outcome.

    `what`: what happened, in a few words. `advice`: what to do; empty if nothing. Both address the customer ("your server").
    `to_staff`: the same for staff, who read about "the receiver". `name`: one or two words, for lists.
    """

    what: Text
    advice: Text = ""
    name: Text = ""
    to_staff: Text = ""


#: For an HTTP status: `to_staff` is added to the text of the outcome kind and may be empty; the name is that of the kind.
_BY_STATUS = {
    400: Explanation(
        _("Your server found the request malformed (400 Bad Request)."),
        _(
            "Look at its log for what it did not like: often it expects other fields, or refuses types it does not know."
        ),
    ),
    401: Explanation(
        _("Your server refused it as not genuine (401 Unauthorized)."),
        _(
            "Most often the signature was checked with another secret, or over a body that was parsed and written anew. "
            "Check it over the raw body, with the secret that this endpoint has now. "
            "If your server requires a login, check the endpoint's authentication."
        ),
        to_staff=_("It wants a login or does not accept the signature."),
    ),
    403: Explanation(
        _("Your server forbade it (403 Forbidden)."),
        _(
            "Often a firewall, a bot protection or a CSRF check stands before your code. "
            "Make an exception for this path; the signature is what tells that a request is genuine."
        ),
        to_staff=_("It forbids the request; a firewall may be in the way."),
    ),
    404: Explanation(
        _("There is nothing at this URL (404 Not Found)."),
        _("Compare the endpoint's path with the one that your server has, and check that the new version is deployed."),
        to_staff=_("It knows no such address; is the path right?"),
    ),
    405: Explanation(
        _("Your server does not take POST at this URL (405 Method Not Allowed)."),
        _("Webhooks are POST requests. Let the path accept POST, or change the endpoint's URL."),
        to_staff=_("It does not take POST requests there."),
    ),
    408: Explanation(
        _("Your server waited too long for the request (408 Request Timeout)."),
        _("This comes from a server or proxy under load."),
    ),
    409: Explanation(
        _("Your server reported a conflict (409 Conflict)."),
        _("If it has this event already, let it answer 200: an event may come more than once."),
    ),
    410: Explanation(
        _("Your server says that this URL is gone for good (410 Gone)."),
        _("410 asks us to stop. If you want webhooks again, answer otherwise, and switch the endpoint on."),
        to_staff=_("It asks us to stop sending."),
    ),
    413: Explanation(
        _("The body was too large for your server (413 Content Too Large)."),
        _(
            "Raise its limit: client_max_body_size in nginx, the limit of express.json(), DATA_UPLOAD_MAX_MEMORY_SIZE in Django."
        ),
        to_staff=_("The body is too large for it."),
    ),
    415: Explanation(
        _("Your server does not take JSON here (415 Unsupported Media Type)."),
        _("Webhooks have the type application/json. Let the path accept it."),
    ),
    422: Explanation(
        _("Your server did not accept the content (422 Unprocessable Content)."),
        _("Look at its answer and its log: often it expects other fields, or refuses types it does not know."),
    ),
    429: Explanation(
        _("Your server asked us to slow down (429 Too Many Requests)."),
        _(
            "A retry comes no sooner than its Retry-After asks. You can give this endpoint a limit of requests a second."
        ),
        to_staff=_("It gets more requests than it wants."),
    ),
    500: Explanation(
        _("Your server failed while it handled the request (500 Internal Server Error)."),
        _("Its own log has the error at this time. Fix it, then send this again."),
    ),
    502: Explanation(
        _("A proxy before your server got no valid answer from it (502 Bad Gateway)."),
        _("Check that your application is running, and listens where the proxy expects it."),
        to_staff=_("A proxy in front of it got no valid answer."),
    ),
    503: Explanation(
        _("Your server was not available (503 Service Unavailable)."),
        _("It may be starting, overloaded or in maintenance. A retry comes no sooner than its Retry-After asks."),
        to_staff=_("It is overloaded, or down for maintenance."),
    ),
    504: Explanation(
        _("A proxy before your server waited too long for it (504 Gateway Timeout)."),
        _("Answer first and work afterwards: put the event into a queue of yours, and answer 200 at once."),
        to_staff=_("A proxy in front of it got no answer in time."),
    ),
}

_BY_KIND = {
    OutcomeKind.SUCCEEDED: Explanation(
        _("Your server accepted it."),
        name=_("Accepted"),
        to_staff=_("The receiver accepted it."),
    ),
    OutcomeKind.REDIRECT: Explanation(
        _("Your server answered with a redirect, which is not followed."),
        _("Give the endpoint the URL that it redirects to; often https:// or a slash at the end is missing."),
        name=_("Redirect"),
        to_staff=_("The receiver answered with a redirect, which is never followed."),
    ),
    OutcomeKind.CLIENT_ERROR: Explanation(
        _("Your server refused the request."),
        _("Its answer, below, and its log may say why."),
        name=_("Refused by the server"),
        to_staff=_("The receiver refused the request."),
    ),
    OutcomeKind.SERVER_ERROR: Explanation(
        _("Your server failed, or gave an answer that is no HTTP status."),
        _("Its own log has the error at this time. Fix it, then send this again."),
        name=_("Server error"),
        to_staff=_("The receiver failed while it handled the request."),
    ),
    OutcomeKind.TIMEOUT: Explanation(
        _("Your server did not answer in time."),
        _("Answer first and work afterwards: put the event into a queue of yours, and answer 200 at once."),
        name=_("No answer in time"),
        to_staff=_("The receiver did not answer in time."),
    ),
    OutcomeKind.REFUSED: Explanation(
        _("No connection to your server could be made."),
        _("Check that it is running, that the port is right, and that its firewall lets our addresses in."),
        name=_("No connection"),
        to_staff=_("No connection to the receiver could be made."),
    ),
    OutcomeKind.NAME_ERROR: Explanation(
        _("The URL's host name could not be found."),
        _("Check its spelling, and that its DNS record is public and has not expired."),
        name=_("Host name not found"),
        to_staff=_("The receiver's host name leads to no address."),
    ),
    OutcomeKind.TLS_ERROR: Explanation(
        _("No secure connection to your server could be made."),
        _(
            "Most often its certificate has expired, is for another name, is self-signed, or lacks the intermediate one. "
            "An SSL checker on the web shows which. If your server requires a client certificate, or has a certificate of "
            "your own certificate authority, look at the endpoint’s certificates."
        ),
        name=_("TLS trouble"),
        to_staff=_(
            "The receiver's certificate or encryption cannot be accepted, or it did not accept our client certificate."
        ),
    ),
    OutcomeKind.PROTOCOL_ERROR: Explanation(
        _("Your server took the connection, but gave no valid HTTP answer."),
        _(
            "It may have crashed on the request or closed the connection early, or it speaks something else on this port."
        ),
        name=_("No valid answer"),
        to_staff=_("The receiver did not answer in valid HTTP."),
    ),
    OutcomeKind.ADDRESS_NOT_ALLOWED: Explanation(
        _("The URL's host name leads to an address that webhooks are not sent to."),
        _("Only public addresses can be reached. Let the name lead to one."),
        name=_("Address not allowed"),
        to_staff=_("The host name led to an address that we do not send to."),
    ),
    OutcomeKind.AUTHENTICATION_FAILED: Explanation(
        _("Nothing was sent: your token server issued no access token."),
        _(
            "Check the token URL, the client ID, the client secret and the scope of this endpoint's authentication, "
            "and the log of your token server."
        ),
        name=_("Authentication failed"),
        to_staff=_("Nothing was sent: the customer's token server issued no access token."),
    ),
    OutcomeKind.NOT_SENT: Explanation(
        _("Nothing was sent, through a fault of ours."),
        _("We have been told; nothing is wrong with your server."),
        name=_("Not sent"),
        to_staff=_("Nothing was sent, through a fault of ours."),
    ),
    OutcomeKind.EXPIRED: Explanation(
        _("It was pending for too long while the endpoint was failing, paused or disabled, and was not sent."),
        _("Once the endpoint works and is enabled, resend it."),
        name=_("Waited too long"),
        to_staff=_("It was pending for too long while the endpoint was failing, paused or disabled; nothing was sent."),
    ),
    OutcomeKind.QUARANTINED: Explanation(
        _("It could not be handled on our side. We try again later, or have given it up."),
        _("We have been told."),
        name=_("Not sent"),
        to_staff=_("It crashed a worker; it is sent alone later, or was given up."),
    ),
}


#: By the beginning of an attempt's detail, for TLS errors about client certificates.
_BY_ALERT = {
    tls_alerts.REQUIRED: Explanation(
        _("Your server requires a client certificate."),
        _("Add one to the endpoint’s certificates, or let this URL accept requests without one."),
    ),
    tls_alerts.REFUSED: Explanation(
        _("Your server refused the client certificate."),
        _(
            "It may have expired, or your server does not trust the authority that issued it. Compare the endpoint’s "
            "certificates with those that your server accepts."
        ),
    ),
}


def explanation_of(outcome: str, status: int | None = None, detail: str = "") -> Explanation:
    """Explain an outcome (a stored OutcomeKind) with this HTTP status and the attempt's detail. A known status or detail gives
    the more precise explanation."""
    kind = OutcomeKind(outcome)
    if kind is OutcomeKind.TLS_ERROR:
        alert = next((explanation for start, explanation in _BY_ALERT.items() if detail.startswith(start)), None)
        return alert or _BY_KIND[kind]
    if kind in (OutcomeKind.CLIENT_ERROR, OutcomeKind.SERVER_ERROR) and status in _BY_STATUS:
        return _BY_STATUS[status]
    return _BY_KIND[kind]


def outcome_name(outcome: str) -> Text:
    """Return the outcome in one or two words; empty for a delivery without a request."""
    return _BY_KIND[OutcomeKind(outcome)].name if outcome else ""


def outcome_in_words(kind: str, status: int | None) -> str:
    """Return the outcome of one request for staff: its kind, and the meaning of its HTTP status if there is more to say."""
    words = str(_BY_KIND[OutcomeKind(kind)].to_staff) if kind in set(OutcomeKind) else kind
    meaning = str(_BY_STATUS[status].to_staff) if status in _BY_STATUS and kind != OutcomeKind.SUCCEEDED else ""
    return f"{words} {meaning}" if meaning else words
