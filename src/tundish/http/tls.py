"""TLS of the listener: a certificate and its key, read again when they have been renewed."""

from __future__ import annotations

import datetime
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tundish.http.errors import CannotListen

_log = logging.getLogger("tundish.http")

_LOOK_AGAIN_S = 10.0

_Stamp = tuple[tuple[int, int], ...]


class TlsUnusable(CannotListen):
    """The certificate or the key cannot be used; the message names the file and what is wrong with it."""

    code = "tls_unusable"


class ServerTls:
    """The context of new connections. Those that are open keep the certificate that they began with."""

    def __init__(
        self, certificate: Path, key: Path | None = None, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            certificate: PEM: the server's certificate, then the intermediate ones.
            key: PEM, without a passphrase; None when it is in the certificate's file.
            monotonic_s: the time, in seconds.

        Raises:
            TlsUnusable: with which file and why.
        """
        self.certificate = certificate
        self._key = key or certificate
        self._monotonic_s = monotonic_s
        self._stamp = self._stamped()
        self._context = self._load()
        self._refused: _Stamp | None = None
        self._looked_s = monotonic_s()

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now; looks at the files at most once in ten seconds.

        Renewed files that cannot be used leave the old ones in force, and the log says why: renewing writes two files,
        and between the two they do not fit.
        """
        now_s = self._monotonic_s()
        if now_s - self._looked_s >= _LOOK_AGAIN_S:
            self._looked_s = now_s
            self._renew()
        return self._context

    def _renew(self) -> None:
        stamp: _Stamp | None = None
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            self._context = self._load()
        except TlsUnusable as error:
            if stamp is None or stamp != self._refused:
                _log.warning("the certificate that was loaded before stays in use: %s", error)
            self._refused = stamp
            return
        self._stamp = stamp
        self._refused = None
        _log.info("new connections get the renewed certificate in %s", self.certificate)

    def _stamped(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self.certificate, self._key))

    def _load(self) -> ssl.SSLContext:
        _check_dates(self.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self._key, password=self._no_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TlsUnusable(f"The key in {self._key} is not that of {self.certificate}.") from error
            where = self._key if self._key == self.certificate else f"{self.certificate} or {self._key}"
            raise TlsUnusable(
                f"{where} is not what TLS needs ({error.reason or error}): a PEM certificate and its PEM key."
            ) from error
        except OSError as error:
            raise TlsUnusable(f"{self._key} cannot be read: {error.strerror or error}.") from error
        return context

    def _no_passphrase(self) -> str:
        """Called for an encrypted key; without it OpenSSL would ask on the terminal and wait."""
        raise TlsUnusable(
            f"The key in {self._key} has a passphrase. Write it without one: openssl pkey -in {self._key} -out KEY.pem"
        )


def pinned(certificate: Path) -> ssl.SSLContext:
    """For a client that trusts one certificate, the first in the file, and no authority: whatever name it is for.

    Raises:
        TlsUnusable: the file holds none.
    """
    leaf = _first(certificate).public_bytes(Encoding.PEM).decode("ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=leaf)
    return context


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise TlsUnusable(f"{path} cannot be read: {error.strerror or error}.") from error
    return found.st_mtime_ns, found.st_size


def _first(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise TlsUnusable(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, IndexError) as error:
        raise TlsUnusable(f"{path} holds no PEM certificate.") from error


def _check_dates(path: Path) -> None:
    """An expired certificate is the owner's to serve, but not silently: clients will say something far less clear."""
    certificate = _first(path)
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        _log.warning("the certificate in %s expired on %s", path, certificate.not_valid_after_utc.date())
    elif now < certificate.not_valid_before_utc:
        _log.warning("the certificate in %s is valid from %s only", path, certificate.not_valid_before_utc)
