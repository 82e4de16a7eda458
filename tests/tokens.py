"""Who signs callers' tokens, in tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER, AUDIENCE = "https://issuer.example", "alexnet"
_ALGORITHM = "ES256"


@dataclass(frozen=True)
class Signer:
    """A key, and what is signed by it."""

    #: The key's.
    name: str
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    def token(self, **claims: Any) -> str:
        """A JWT of a caller who is let in, but for these claims."""
        ends = datetime.now(UTC) + timedelta(hours=1)
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": ends} | claims
        return jwt.encode(said, self._key, _ALGORITHM, {"kid": self.name})

    @property
    def public(self) -> dict[str, Any]:
        """Its JWK."""
        key: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return key | {"kid": self.name, "alg": _ALGORITHM, "use": "sig"}


def key_set(*signers: Signer) -> bytes:
    """The JWKS of these."""
    return json.dumps({"keys": [signer.public for signer in signers]}).encode()
