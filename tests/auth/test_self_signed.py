"""A certificate that needs nobody: three files of one pair."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from skills_host.auth.certificates import check_valid, read_certificate
from skills_host.auth.self_signed import SelfSigned, self_signed
from tests.auth.issuer import NOW, private_key


def key() -> RSAPrivateKey:
    return private_key("self-signed", 2048)


def made(name: str = "my bot") -> SelfSigned:
    return self_signed(name, days=30, now=NOW, new_key=key)


def test_all_files_hold_one_pair() -> None:
    files = made()
    read = read_certificate(files.certificate_pem, key=files.key_pem)

    assert read == read_certificate(files.pfx)
    assert (read.subject, len(read.chain)) == ("CN=my bot", 1)


def test_it_is_valid_for_the_days_asked_for() -> None:
    """And a little before, for clocks that are behind."""
    certificate = read_certificate(made().pfx)

    check_valid(certificate, now=NOW - 60)
    assert certificate.days_left(NOW) == 30


def test_it_signs_itself_and_nothing_else() -> None:
    certificate = x509.load_pem_x509_certificate(made().certificate_pem)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value

    certificate.verify_directly_issued_by(certificate)
    assert usage.digital_signature and not usage.key_cert_sign


def test_a_new_key_is_made_each_time() -> None:
    first, second = (self_signed("a", days=1, now=NOW) for _ in range(2))

    assert first.key_pem != second.key_pem


def test_no_repr_shows_the_key() -> None:
    assert "PRIVATE" not in repr(made())


def test_a_name_that_no_certificate_has_is_refused() -> None:
    with pytest.raises(ValueError):
        made("")
