"""The App's private keys: found in a PEM text, and proved to be able to sign before anything depends on them."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----.*?-----END (?P=label)-----", re.DOTALL)


class UnusableKey(ValueError):
    """The text can't be used as the App's private key; the words hold nothing of the key."""


def signing_keys(text: str) -> tuple[str, ...]:
    """Every private key of a PEM text, in its order: the first one signs, the others are tried if GitHub refuses it.

    GitHub lets an App have several keys, so that a new one can be put into service before the old one is deleted.

    Raises:
        UnusableKey
    """
    # An environment variable of one line often carries its line breaks as two characters.
    blocks = [match.group(0) + "\n" for match in _BLOCK.finditer(text.replace("\\n", "\n"))]
    if not blocks:
        raise UnusableKey("GAMMA_GITHUB_PRIVATE_KEY holds no PEM block: it needs -----BEGIN … and -----END … lines")
    for number, block in enumerate(blocks, 1):
        where = "" if len(blocks) == 1 else f"block {number} of {len(blocks)}: "
        problem = _problem(block)
        if problem:
            raise UnusableKey(f"GAMMA_GITHUB_PRIVATE_KEY: {where}{problem}")
    return tuple(dict.fromkeys(blocks))


def _problem(block: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    label = block.split("-----")[1].removeprefix("BEGIN ")
    if not label.endswith("PRIVATE KEY"):
        return f"this is a {label.lower()}, not a private key; download one on the App's settings page"
    try:
        key = load_pem_private_key(block.encode(), None)
    except TypeError:
        return "the private key is protected by a password, which Gamma can't ask for"
    except (ValueError, UnsupportedAlgorithm):
        return "the private key is damaged; download a new one on the App's settings page"
    return "" if isinstance(key, RSAPrivateKey) else "GitHub Apps sign with RSA keys; this key is of another kind"
