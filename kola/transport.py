"""The SSH transport of a connection: options, key exchange, host key, login."""

from __future__ import annotations

import base64
import io
import logging
import socket
from typing import TYPE_CHECKING

import paramiko

from kola.channel import WINDOW, ConnectionLost, words
from kola.errors import ConfigError, KolaError
from kola.wire import Transport

if TYPE_CHECKING:
    from kola.keys import KeyPair

KEEPALIVE = 15.0
"""Seconds of silence after which something is sent, so that a dead network is noticed."""
DEAD_PEER = 60.0
"""Seconds after which the host's kernel gives up on a peer that acknowledges nothing."""
CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
"""AES-GCM authenticates by itself: one call into the crypto library a packet instead of two."""
# Failed connections are normal while a machine boots; paramiko would print a traceback for each.
_LOG = "kola.ssh.transport"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


class HostKeyMismatch(KolaError):
    """Something else than the expected machine answered."""


class LoginRefused(ConnectionLost):
    """Who tried may not log in, or not yet."""


def open_transport(
    sock: socket.socket, peer: str, user: str, key: KeyPair, host_key: str, *, timeout: float
) -> Transport:
    """Log in over a connected TCP socket, which is closed with the transport.

    Args:
        sock: connected.
        peer: names the machine in errors.
        user: who logs in.
        key: the client's key.
        host_key: public line of the only host key that is accepted.
        timeout: seconds for each step: banner, key exchange, authentication.

    Raises:
        HostKeyMismatch: another host key.
        LoginRefused: as it says.
        ConnectionLost: no answer in time.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else every channel stalls for 40 ms
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_PEER * 1000))
    transport = Transport(sock, WINDOW)
    transport.set_log_channel(_LOG)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
    options = transport.get_security_options()
    options.ciphers = CIPHERS
    options.key_types = ("ssh-ed25519",)
    try:
        transport.start_client(timeout=timeout)
        _check_host_key(transport.get_remote_server_key(), host_key, peer)
        transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key(io.StringIO(key.private)))
        transport.set_keepalive(KEEPALIVE)
    except paramiko.AuthenticationException as e:
        transport.close()
        raise LoginRefused(f"{peer}: {user} may not log in (yet): {e}") from e
    except (paramiko.SSHException, OSError, EOFError) as e:
        transport.close()
        raise ConnectionLost(f"{peer}: {words(e)}") from e
    except BaseException:
        transport.close()
        raise
    return transport


def _check_host_key(found: paramiko.PKey, wanted: str, peer: str) -> None:
    parts = wanted.split()
    if len(parts) < 2 or parts[0] != "ssh-ed25519":  # noqa: PLR2004 - type and key
        raise ConfigError(f"host key of {peer}: expected a line 'ssh-ed25519 AAAA...', got {wanted[:40]!r}")
    if found.asbytes() != base64.b64decode(parts[1]):
        raise HostKeyMismatch(
            f"{peer} shows another host key than the machine was given: {found.get_name()} {found.get_base64()}, "
            f"expected {parts[1]}"
        )
