"""An address that begins with https:// is spoken to with TLS, on a real server with a certificate of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cli.tests.running import Home
from cli.tests.stand_in import serving
from credence.enrolment.v1 import catalogue_pb2
from credence_cli.channels import in_clear_text
from credence_cli.embedded.development_secrets import ensure_development_secrets

ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
LIST = ("catalogue", "list")


def listed(request: Any, context: Any) -> catalogue_pb2.ListProgrammesResponse:
    return catalogue_pb2.ListProgrammesResponse()


@dataclass(frozen=True)
class Server:
    """The same service with TLS and without; `roots` is the file that holds its certificate."""

    secure: str
    plain: str
    roots: Path


def certificate() -> tuple[bytes, bytes]:
    """(key, certificate) of 127.0.0.1, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, made.public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    key, made = certificate()
    roots = tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.write_bytes(made)
    secured = grpc.ssl_server_credentials([(key, made)])
    with serving({"ListProgrammes": listed}, catalogue_pb2.DESCRIPTOR, secured=secured) as (plain, secure):
        yield Server(f"127.0.0.1:{secure}", f"127.0.0.1:{plain}", roots)


@pytest.fixture(autouse=True)
def signed_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_development_secrets(home.folder / "stack" / "secrets")
    for name in (ROOTS, "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", [ROOTS, "SSL_CERT_FILE"], ids=["roots of gRPC's variable", "the system's roots"])
def test_a_service_behind_tls_is_spoken_to(home: Home, server: Server, variable: str) -> None:
    named = {variable: str(server.roots), "CREDENCE_ENROLMENT": f"https://{server.secure}"}
    ran = home.call(*LIST, exits=0, **named)
    assert ran.err == ""


def test_a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do(home: Home, server: Server) -> None:
    ran = home.call(*LIST, exits=6, CREDENCE_ENROLMENT=f"https://{server.secure}")
    told, why = ran.err.splitlines()
    assert told == (
        f"enrolment at https://{server.secure} does not answer: is it running there, with TLS, and with a certificate "
        f"that is trusted here? CREDENCE_ENROLMENT names the address, {ROOTS} a file of roots to trust"
    )
    assert "CERTIFICATE_VERIFY_FAILED" in why


def test_another_host_s_certificate_is_refused(home: Home, server: Server) -> None:
    elsewhere = server.secure.replace("127.0.0.1", "localhost")
    trusted = {ROOTS: str(server.roots)}
    ran = home.call(*LIST, exits=6, CREDENCE_ENROLMENT=f"https://{elsewhere}", **trusted)
    assert "does not answer" in ran.err


def test_tls_to_a_service_without_it_is_told_as_such(home: Home, server: Server) -> None:
    ran = home.call(*LIST, exits=6, CREDENCE_ENROLMENT=f"https://{server.plain}", **{ROOTS: str(server.roots)})
    assert "is it running there, with TLS" in ran.err
    assert home.call(*LIST, CREDENCE_ENROLMENT=server.plain).err == ""


def test_roots_that_cannot_be_read_are_a_usage_error(home: Home, server: Server) -> None:
    named = {ROOTS: str(server.roots.with_name("absent.pem"))}
    told = home.call(*LIST, exits=2, CREDENCE_ENROLMENT=f"https://{server.secure}", **named).told
    assert told == f"{named[ROOTS]}, which {ROOTS} names, cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "address",
    ["https://", "https://host:port", "https://host:99999", "https://host/path", "https://me@host", "http://host:1"],
)
def test_an_address_that_is_none_is_a_usage_error(home: Home, address: str) -> None:
    told = home.call(*LIST, exits=2, CREDENCE_ENROLMENT=address).told
    assert told == f"CREDENCE_ENROLMENT: {address!r} is no address; write host:port, or https://host:port for TLS"


def test_a_token_that_goes_out_in_clear_text_is_warned_of_once(home: Home) -> None:
    away = {f"CREDENCE_{name}": "nowhere.invalid:9000" for name in ("ENROLMENT", "ACCREDITATION", "MENTORING")}
    said = home.call("status", exits=6, **away).err
    assert said.splitlines() == [
        "Your token goes to nowhere.invalid:9000 in clear text: put that service behind TLS, and write "
        "https://host:port in CREDENCE_ENROLMENT. (CREDENCE_CLEAR_TEXT=accepted where it is meant.)"
    ]
    assert home.call("status", exits=6, CREDENCE_CLEAR_TEXT="accepted", **away).err == ""
    secure = {name: f"https://{address}" for name, address in away.items()}
    assert home.call("status", exits=6, **secure).err == ""


@pytest.mark.parametrize(
    ("address", "clear"),
    [
        ("127.0.0.1:1", False),
        ("127.8.0.1:1", False),
        ("localhost:1", False),
        ("[::1]:1", False),
        ("unix:/run/credence.sock", False),
        ("dns:///localhost:1", False),
        ("https://example.org", False),
        ("10.0.0.1:1", True),
        ("example.org:1", True),
        ("localhost.example.org:1", True),
        ("[2001:db8::1]:1", True),
        ("dns:///example.org:1", True),
        ("ipv4:10.0.0.1:1", True),
    ],
)
def test_what_leaves_this_machine_without_tls_is_in_clear_text(address: str, clear: bool) -> None:
    assert in_clear_text(address) == clear
