"""Who is calling: verifies a bearer token (JWT, RFC 7519) of the external issuer and reads its claims."""

from __future__ import annotations

import hmac
import re
from typing import Annotated, Any

import jwt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from catalogue.model import FIELD_ID_PATTERN
from servicekit.errors import Unauthenticated, Unavailable
from servicekit.keys import ALGORITHMS, KeysUnavailable, SigningKeys
from servicekit.limits import ACCESS_TOKEN_CHARS_MAX, ACCESS_TOKEN_SECONDS_MAX
from servicekit.scope import OWN_BODIES, OWN_PERSON, OWN_PROVIDERS, ROLES, Principal, Scope

__all__ = ["Principal", "Scope", "TokenVerifier"]

LEEWAY_SECONDS = 10

_Id = Annotated[str, StringConstraints(pattern=FIELD_ID_PATTERN, max_length=64)]
_Ids = Annotated[frozenset[_Id], Field(max_length=200)]


class _Claims(BaseModel):
    """What a token says about its holder, besides the registered claims PyJWT checks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sub: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
    iat: int
    exp: int
    roles: Annotated[frozenset[str], Field(max_length=50)]
    person: _Id | None = None
    providers: _Ids = frozenset()
    bodies: _Ids = frozenset()


def recorded_as(sub: str, person: str | None, key: bytes) -> str:
    """The name under which what a caller does is kept for good, in events and logs: one that says nothing of them.

    Of a person it is `person-<id>`, which stays when they are erased. An issuer's `sub` is kept as it is only where it
    is an id like ours; it may as well be an e-mail address, and then a keyed pseudonym stands for it: the same for the
    same `sub`, and by the key alone is it known again.
    """
    if person is not None:
        return f"person-{person}"
    if len(sub) <= 64 and re.fullmatch(FIELD_ID_PATTERN, sub):
        return sub
    return "sub-" + hmac.digest(key, b"subject\0" + sub.encode(), "sha256").hex()[:24]


def _missing_claim(principal: Principal) -> str | None:
    """A role without the ids it acts for would see nothing anywhere, which looks like lost data: say so instead."""
    if principal.roles & OWN_PERSON and principal.person is None:
        return "person"
    if principal.roles & OWN_PROVIDERS and not principal.providers:
        return "providers"
    if principal.roles & OWN_BODIES and not principal.bodies:
        return "bodies"
    return None


class TokenVerifier:
    """Verifies tokens against the issuer's keys.

    `pseudonym_key` (secret, the same in every service) makes what is recorded of a caller say nothing of them.
    Accepted: EdDSA, ES256, RS256, each only with a key of its own kind; `iss` and `aud` as configured; `exp`, `iat`,
    `sub` present; a life of at most 15 minutes. Development keys only where `development` is true.
    """

    def __init__(
        self, keys: SigningKeys, *, issuer: str, audience: str, development: bool, pseudonym_key: bytes
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._development = development
        self._pseudonym_key = pseudonym_key

    async def verify(self, token: str) -> Principal:
        """Who the token speaks for. Raises Unauthenticated, or Unavailable when the keys cannot be read."""
        if len(token) > ACCESS_TOKEN_CHARS_MAX:
            raise Unauthenticated(f"the token is longer than {ACCESS_TOKEN_CHARS_MAX} characters")
        try:
            claims = _Claims.model_validate(await self._decode(token))
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"{_explain(error)}; get a new token from {self._issuer}") from error
        except ValidationError as error:
            wrong = ", ".join(sorted({str(e["loc"][0]) for e in error.errors()}))
            raise Unauthenticated(f"the token's claims are missing or malformed: {wrong}") from None
        if claims.exp - claims.iat > ACCESS_TOKEN_SECONDS_MAX:
            raise Unauthenticated(f"the token lives longer than {ACCESS_TOKEN_SECONDS_MAX // 60} minutes (exp - iat)")
        roles = claims.roles & ROLES
        subject = recorded_as(claims.sub, claims.person if roles & OWN_PERSON else None, self._pseudonym_key)
        principal = Principal(subject, roles, claims.person, claims.providers, claims.bodies)
        if not principal.roles:
            raise Unauthenticated("the token names no role of this platform (claim `roles`)")
        if missing := _missing_claim(principal):
            raise Unauthenticated(f"the token's roles {_names(principal.roles)} need the claim `{missing}`")
        return principal

    async def _decode(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"the token's algorithm is not one of {_names(ALGORITHMS)}")
        if not isinstance(kid, str) or not kid:
            raise Unauthenticated("the token names no key (header `kid`)")
        try:
            key = await self._keys.find(kid)
        except KeysUnavailable as error:
            raise Unavailable("the issuer's signing keys cannot be read at the moment; try again") from error
        if key is None:
            raise Unauthenticated("the token is signed with a key the issuer does not publish")
        if key.development and not self._development:
            raise Unauthenticated(
                "the token is signed with a development key, which counts in the development profile only"
            )
        # The algorithm comes from the key, not from the token: a token may not choose how it is checked.
        return jwt.decode(
            token,
            key=key.jwk,
            algorithms=[key.algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _explain(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.InvalidAudienceError():
            return "the token is meant for another audience"
        case jwt.InvalidIssuerError():
            return "the token comes from another issuer"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks the claim `{error.claim}`"
        case jwt.InvalidAlgorithmError():
            return "the token's algorithm is not its key's"
        case jwt.InvalidSignatureError():
            return "the token's signature does not hold"
        case _:
            return "the token is malformed"
