"""Credentials, permissions, certificates, proxies and clocks."""

from s3_to_azure.model.errors.base import PermanentError


class AccessError(PermanentError):
    """Credentials, permissions, certificates or clocks."""


class AccessDenied(AccessError):
    """The identity is known and lacks a permission."""

    template = "{service} denied access to {resource} ({code}). {cure}"


class CredentialsRefused(AccessError):
    """The service does not accept the key, token or signature."""

    template = "{service} refused the credentials for {resource} ({code}). {cure}"


class UrlRefused(AccessError):
    """The URL that names the object has expired, was changed, or is signed for something else."""

    template = "{service} refused the URL {resource} ({code}). {cure}"


class KeyManagementDenied(AccessError):
    """The identity may not use the object's KMS key."""

    template = "S3 could not decrypt {resource} ({code}). Grant the identity of this connection kms:Decrypt on the object's KMS key, and check that the key is enabled and not scheduled for deletion."


class CustomerKeyRequired(AccessError):
    """The object can only be read with the key of its owner (SSE-C)."""

    template = "S3 refused to read {resource} without an encryption key ({code}). The object is most likely encrypted with a key that its owner keeps (SSE-C): put that key into the connection's extra field sse_customer_key, or into S3_SSE_CUSTOMER_KEY."


class CertificateRefused(AccessError):
    """The server's TLS certificate is not trusted."""

    template = "The TLS certificate of {service} is not trusted ({detail}). Set the connection's verify setting to the right CA bundle."


class ProxyRefused(AccessError):
    """A proxy between this machine and the service refused to forward requests."""

    template = "The proxy refused the connection to {service} for {resource}: {detail}. Check the proxy's address and credentials, and whether it allows this host."


class ClockSkewed(AccessError):
    """This machine's clock differs too much from the server's."""

    template = "{service} refused the time of the request for {resource} ({code}). Set this machine's clock (NTP)."
