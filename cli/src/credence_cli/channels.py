"""Channels to the services: with TLS where the address begins with https://, else in clear text."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from credence_cli.exits import CommandFailed, Exit

# gRPC's own variable. Without it, gRPC for Python takes the roots that it brings along, not the system's.
ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
# "accepted" where the network between is nobody else's, as between the containers of one machine.
CLEAR_TEXT = "CREDENCE_CLEAR_TEXT"
_TLS = "https://"
_TLS_PORT = 443
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def open_channel(address: str, named_by: str, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
    """Raises CommandFailed for an address that is none; `named_by` is the variable that names it."""
    if with_tls(address):
        credentials = grpc.ssl_channel_credentials(_roots())
        return grpc.aio.secure_channel(_authority(address, named_by), credentials, options=options)
    if address.startswith("http://"):
        raise _no_address(address, named_by)
    return grpc.aio.insecure_channel(address, options=options)


def with_tls(address: str) -> bool:
    return address.startswith(_TLS)


def in_clear_text(address: str) -> bool:
    """Whether what is sent there leaves this machine, for anybody on the way to read, and nobody said that it may."""
    if with_tls(address) or address.startswith("unix") or os.environ.get(CLEAR_TEXT) == "accepted":
        return False
    host = urlsplit("//" + re.sub(r"^(dns|ipv4|ipv6):(//[^/]*/)?", "", address)).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _authority(address: str, named_by: str) -> str:
    parts = urlsplit(address)
    try:
        port = parts.port or _TLS_PORT
    except ValueError:
        raise _no_address(address, named_by) from None
    if not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _no_address(address, named_by)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}"


def _no_address(address: str, named_by: str) -> CommandFailed:
    says = f"{named_by}: {address!r} is no address; write host:port, or https://host:port for TLS"
    return CommandFailed(Exit.USAGE, says)


def _roots() -> bytes | None:
    """Those of gRPC's variable, else the system's; None where there are none: then gRPC takes its own."""
    if named := os.environ.get(ROOTS):
        try:
            return Path(named).read_bytes()
        except OSError as error:
            says = f"{named}, which {ROOTS} names, cannot be read: {error.strerror}"
            raise CommandFailed(Exit.USAGE, says) from error
    for file in (ssl.get_default_verify_paths().cafile, *_SYSTEM_ROOTS):
        if file and os.access(file, os.R_OK):
            return Path(file).read_bytes()
    return None
