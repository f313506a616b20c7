"""Where a skill may be reached: each address that is not let through is refused with its code."""

from __future__ import annotations

import ipaddress

import pytest

from skills_host.consumer.manifest.addresses import (
    PRIVATE_NETWORKS,
    endpoint_fault,
    is_public_address,
)
from tests.consumer.manifest.sound import codes, with_endpoint


@pytest.mark.parametrize(
    "url",
    [
        *["https://skill.example/api/messages", "https://skill.example:8443/", "https://8.8.8.8/"],
        *["https://[2606:4700:4700::1111]/", "HTTPS://SKILL.EXAMPLE/", "https://xn--bcher.example"],
        *["https://skill.example/a%20b?x=1", "https://1e100.example/", "https://0x.example/"],
    ],
)
def test_a_public_address_is_taken(url: str) -> None:
    assert endpoint_fault(url, dev=False) is None


REFUSED = {
    "SKM304": ["", "/api/messages", "skill.example", "https:", "https:///x"],
    "SKM305": [
        *["http://skill.example/", "ftp://skill.example/", "ws://a.example", "javascript:alert(1)"],
        *["file:///etc/passwd", "data:,x", "http://169.254.169.254/latest/meta-data/"],
    ],
    "SKM306": ["https://user:pw@skill.example/", "https://user@skill.example/"],
    "SKM307": ["https://skill.example/#x", "https://skill.example/#"],
    "SKM308": [
        *["https://127.0.0.1/", "https://localhost/", "https://a.localhost/", "https://[::1]/"],
        *["https://10.0.0.5/", "https://172.16.0.1/", "https://192.168.1.1/", "https://[fd00::1]/"],
        *["https://169.254.169.254/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/"],
        *["https://100.64.0.1/", "https://0.0.0.0/", "https://[::]/", "https://224.0.0.1/"],
        *["https://[::ffff:10.0.0.5]/", "https://[64:ff9b::7f00:1]/", "https://[2002:a00:5::1]/"],
        *["https://metadata.google.internal/", "https://printer.local/", "https://localhost./"],
        "https://corp/",
    ],
    "SKM312": [
        *["https://127.1/", "https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/"],
        *["https://999.1.1.1/", "https://1.2.3.4./", "https://skill.example\\@evil.example/"],
        *["https://a b/", "https://a\n", "https://skill.example:port/", "https://[::1"],
        "https://bücher.example/",
    ],
}


@pytest.mark.parametrize(("code", "url"), [(c, url) for c, urls in REFUSED.items() for url in urls])
def test_an_unsafe_address_is_refused_with_its_code(code: str, url: str) -> None:
    assert endpoint_fault(url, dev=False) == code
    assert codes(with_endpoint(endpointUrl=url)) == [code]


@pytest.mark.parametrize("host", ["localhost:3978", "127.0.0.1", "[::1]:1", "a.localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_is_for_developers(scheme: str, host: str) -> None:
    assert endpoint_fault(f"{scheme}://{host}/", dev=True) is None
    assert endpoint_fault(f"{scheme}://{host}/", dev=False) is not None


def test_developing_opens_nothing_else() -> None:
    assert endpoint_fault("http://skill.example/", dev=True) == "SKM305"
    assert endpoint_fault("https://10.0.0.5/", dev=True) == "SKM308"
    assert endpoint_fault("https://u@localhost/", dev=True) == "SKM306"


def test_a_network_can_be_allowed() -> None:
    ours = (ipaddress.ip_network("10.1.0.0/16"),)

    assert endpoint_fault("https://10.1.2.3/", dev=False, networks=ours) is None
    assert endpoint_fault("https://10.2.0.1/", dev=False, networks=ours) == "SKM308"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[fd20:ce::254]"])
def test_no_private_network_holds_a_metadata_service(host: str) -> None:
    url = f"https://{host}/"

    assert endpoint_fault(url, dev=True, networks=PRIVATE_NETWORKS) == "SKM308"


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_what_leads_to_a_public_address_is_public(text: str) -> None:
    assert is_public_address(ipaddress.ip_address(text))
