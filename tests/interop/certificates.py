"""Certificates of one run: a private authority, and what it says of 127.0.0.1. Made with openssl, good for two days."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS = 2


@dataclass(frozen=True)
class Identity:
    """A certificate and its key; `all` has both and the authority's in one file, as baresip wants them."""

    certificate: Path
    key: Path
    all: Path


class Authority:
    """Signs for whoever asks."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        extensions = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._openssl("req", "-x509", *self._new_key(self.key), *self._subject("Interop authority"), *extensions,
                      "-days", str(DAYS), "-out", str(self.certificate))

    def identity(self, name):
        """For a server or a client at 127.0.0.1; the name tells the files of several apart."""
        path = lambda ending: self.folder / f"{name}.{ending}"
        key, request, certificate, extensions, together = map(path, ("key", "csr", "pem", "extensions", "all"))
        extensions.write_text(
            "subjectAltName = IP:127.0.0.1,DNS:localhost\nbasicConstraints = CA:FALSE\n"
            "keyUsage = critical,digitalSignature,keyEncipherment\nextendedKeyUsage = serverAuth,clientAuth\n"
        )
        self._openssl("req", *self._new_key(key), *self._subject(name), "-out", str(request))
        self._openssl("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self.key),
                      "-CAcreateserial", "-days", str(DAYS), "-extfile", str(extensions), "-out", str(certificate))
        together.write_text(key.read_text() + certificate.read_text() + self.certificate.read_text())
        return Identity(certificate, key, together)

    @staticmethod
    def _new_key(path):
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", str(path)]

    @staticmethod
    def _subject(name):
        return ["-subj", f"/CN={name}"]

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.strip()[-400:]}"
