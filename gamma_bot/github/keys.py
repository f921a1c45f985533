"""The App's private keys: found in a PEM text, and proved to be able to sign before anything depends on them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# GitHub refuses what lives longer than ten minutes, and what is issued in its own future: clocks differ.
_JWT_SECONDS = 9 * 60
_CLOCK_SKEW_SECONDS = 60

_DAMAGED = "the private key is damaged; download a new one on the App's settings page"
_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----.*?-----END (?P=label)-----", re.DOTALL)


class UnusableKey(ValueError):
    """The text can't be used as the App's private key; the words hold nothing of the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, read and proved once: PyJWT would read its text again for every token."""

    pem: str = field(repr=False)
    _key: RSAPrivateKey = field(repr=False, compare=False)

    def jwt(self, app_id: str) -> str:
        """The App's word for the next minutes (RS256).

        Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".
        """
        from jwt import encode

        issued = int(time.time()) - _CLOCK_SKEW_SECONDS
        claims = {"iat": issued, "exp": issued + _CLOCK_SKEW_SECONDS + _JWT_SECONDS, "iss": app_id}
        return encode(claims, self._key, algorithm="RS256")


def signing_keys(text: str) -> tuple[SigningKey, ...]:
    """Every private key of a PEM text, in its order: the first one signs, the others are tried if GitHub refuses it.

    GitHub lets an App have several keys, so that a new one can be put into service before the old one is deleted.

    Raises:
        UnusableKey
    """
    # An environment variable of one line often carries its line breaks as two characters.
    blocks = [match.group(0) + "\n" for match in _BLOCK.finditer(text.replace("\\n", "\n"))]
    if not blocks:
        raise UnusableKey("GAMMA_GITHUB_PRIVATE_KEY holds no PEM block: it needs -----BEGIN … and -----END … lines")
    keys: dict[str, SigningKey] = {}
    for number, block in enumerate(blocks, 1):
        where = "" if len(blocks) == 1 else f"block {number} of {len(blocks)}: "
        try:
            keys[block] = SigningKey(block, _loaded(block))
        except UnusableKey as problem:
            raise UnusableKey(f"GAMMA_GITHUB_PRIVATE_KEY: {where}{problem}") from None
    return tuple(keys.values())


def _loaded(block: str) -> RSAPrivateKey:
    from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    label = block.split("-----")[1].removeprefix("BEGIN ")
    if not label.endswith("PRIVATE KEY"):
        raise UnusableKey(f"this is a {label.lower()}, not a private key; download one on the App's settings page")
    try:
        # OpenSSL's check of the primes takes a tenth of a second of the start; a signature proves what we need.
        key = load_pem_private_key(block.encode(), None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise UnusableKey("the private key is protected by a password, which Gamma can't ask for") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(_DAMAGED) from None
    if not isinstance(key, RSAPrivateKey):
        raise UnusableKey("GitHub Apps sign with RSA keys; this key is of another kind")
    try:
        key.public_key().verify(key.sign(b"Gamma", PKCS1v15(), SHA256()), b"Gamma", PKCS1v15(), SHA256())
    except (ValueError, InvalidSignature, InternalError):
        raise UnusableKey(_DAMAGED) from None
    return key
