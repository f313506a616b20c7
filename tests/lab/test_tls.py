"""Tests of the lab's certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from skills_host.lab.tls import LAB_HOSTS, create_tls, write_bundle


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, *, host: str) -> str | None:
    """Handshake both ends in memory; the protocol that they agree on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (near, far, near, far):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return near.version()


@pytest.mark.parametrize("host", [*LAB_HOSTS, "127.0.0.1", "::1"])
def test_a_client_that_trusts_the_lab_reaches(host: str) -> None:
    """The certificate is good for every name that a peer may have hard-coded."""
    tls = create_tls()

    assert shake_hands(tls.client_context(), tls.server_context, host=host) == "TLSv1.3"


def test_another_host_name_is_refused() -> None:
    """The certificate is for the lab's names only."""
    tls = create_tls()

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls.client_context(), tls.server_context, host="example.org")


def test_another_labs_certificate_is_refused() -> None:
    """Every start has an authority of its own."""
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(create_tls().client_context(), create_tls().server_context, host="localhost")


def test_a_strict_client_is_content() -> None:
    """Newer interpreters check chains strictly by default."""
    tls = create_tls()
    client = tls.client_context()
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert shake_hands(client, tls.server_context, host="localhost")


def test_the_authority_may_vouch_for_the_lab_only() -> None:
    """Trusting it must not mean trusting it for the rest of the world."""
    certificate = x509.load_pem_x509_certificate(create_tls().ca_pem.encode())

    limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)

    permitted = limits.value.permitted_subtrees or []
    assert limits.critical
    assert set(LAB_HOSTS) <= {str(name.value) for name in permitted}


def test_a_bundle_holds_what_was_trusted_and_the_lab(tmp_path: Path) -> None:
    """Peers replace their trust store by it, so it must not only hold the lab."""
    other, tls = create_tls(), create_tls()

    bundle = write_bundle(tmp_path / "bundle.pem", ca_pem=tls.ca_pem, trusted=other.ca_pem)

    client = ssl.create_default_context(cafile=str(bundle))
    assert shake_hands(client, tls.server_context, host="localhost")
    assert shake_hands(client, other.server_context, host="localhost")


def test_no_private_key_is_written(tmp_path: Path) -> None:
    """What is for other processes holds certificates alone."""
    tls = create_tls()

    bundle = write_bundle(tmp_path / "bundle.pem", ca_pem=tls.ca_pem)

    assert "PRIVATE" not in bundle.read_text() + tls.ca_pem + repr(tls)
