"""Public addresses, and hosts that the settings allow."""

import pytest

from worker.egress.address_rules import allowed_hosts, is_private_url, is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:93.184.215.14", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("3fff::1", False),
        ("224.0.0.1", False),
        ("239.1.1.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://localhost/cat.jpg", True),
        ("http://LOCALHOST:8080/cat.jpg", True),
        ("http://photos.localhost/cat.jpg", True),
        ("http://192.168.1.5/cat.jpg", True),
        ("http://[::1]:8080/cat.jpg", True),
        ("http://10.0.0.7:8080/cat.jpg", False),
        ("http://10.0.0.7/cat.jpg", True),
        ("http://127.0.0.1:9/cat.jpg", False),
        ("https://93.184.215.14/cat.jpg", False),
        ("https://example.org/cat.jpg", False),
        ("http://[nonsense/cat.jpg", False),
        ("http://localhost:99999/cat.jpg", False),
    ],
)
def test_urls_of_private_addresses(url: str, private: bool) -> None:
    """Nothing is resolved. What is no URL is refused for that."""
    allowed = allowed_hosts(["10.0.0.7:8080", "http://127.0.0.1:9"])
    assert is_private_url(url, allowed) is private


def test_forms_of_a_configured_host() -> None:
    entries = ["Photos.Test", "10.0.0.7:8080", "[::1]:80", "https://api.test/v1"]
    assert allowed_hosts([*entries, "http://127.0.0.1:9"]) == {
        "photos.test",
        "10.0.0.7:8080",
        "::1:80",
        "api.test:443",
        "127.0.0.1:9",
    }
