"""Serializers of a webhook's client certificate and certificate authorities."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from webhooks_app.api.serializers.fields import StrictText
from webhooks_app.core.certificates import MAX_AUTHORITIES, MAX_CHAIN
from webhooks_app.endpoints.client_tls import ClientTLSFacts, client_tls_facts
from webhooks_app.exceptions import SealingError
from webhooks_app.models import Endpoint

_CERTIFICATE = (
    f"The client certificate in PEM format, then its intermediate certificates, at most {MAX_CHAIN}. "
    "Null removes it, and its private key."
)
_PRIVATE_KEY = (
    "The private key of the certificate in PEM format: RSA with 2,048 to 4,096 bits, P-256, P-384, P-521 or Ed25519. It is "
    "never shown. Without it, the certificate must fit the stored key."
)
_AUTHORITIES = (
    f"At most {MAX_AUTHORITIES} certificate authorities in PEM format, to trust for this webhook beside the public ones. "
    "Null removes them."
)


class CertificateSerializer(serializers.Serializer[Any]):
    """The description of a certificate."""

    subject = serializers.CharField(help_text="The name in the certificate.")
    issuer = serializers.CharField(help_text="The name of the certificate authority that issued it.")
    fingerprint = serializers.CharField(help_text="The SHA-256 fingerprint, in hexadecimal with colons.")
    not_before = serializers.DateTimeField(help_text="The start of its validity.")
    not_after = serializers.DateTimeField(help_text="The end of its validity.")


class ClientTLSSerializer(serializers.Serializer[Any]):
    """The client certificate and the certificate authorities of a webhook."""

    certificate = CertificateSerializer(allow_null=True, help_text="The client certificate; null if there is none.")
    authorities = CertificateSerializer(
        many=True, help_text="The certificate authorities to trust for this webhook beside the public ones."
    )

    def get_attribute(self, instance: Endpoint) -> ClientTLSFacts | None:
        try:
            return client_tls_facts(instance) if instance.client_tls else None
        except SealingError:  # the encryption key is missing: nothing is sent, but the webhook can be read
            return None


class ClientTLSInputSerializer(serializers.Serializer[Any]):
    """A client certificate and certificate authorities. Omitted fields stay unchanged."""

    certificate = StrictText(required=False, allow_null=True, allow_blank=True, help_text=_CERTIFICATE)
    private_key = StrictText(required=False, allow_null=True, allow_blank=True, help_text=_PRIVATE_KEY)
    passphrase = StrictText(
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Decrypts the private key if that is encrypted. It is not stored.",
    )
    authorities = StrictText(required=False, allow_null=True, allow_blank=True, help_text=_AUTHORITIES)
