"""Tokens that are looked at here because the API server is away."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from apiserver import FakeApiServer, serving
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from smi.sources.apiserver import Access, ApiServer
from translator.identity.subject import SidecarIdentity
from translator.identity.tokens import TokenRejected
from translator.kube.names import AUDIENCE
from translator.kube.offline import DISCOVERY, KEYS, TRUSTED, SigningKeys
from translator.kube.tokenreview import PATH, TokenReviews

ISSUER = "https://kubernetes.default.svc"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
WEB = SidecarIdentity(namespace="shop", service_account="web", pod="web-1")


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    bound = {
        "namespace": "shop",
        "pod": {"name": "web-1", "uid": "u1"},
        "serviceaccount": {"name": "web", "uid": "s"},
    }
    return {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:shop:web",
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "kubernetes.io": bound,
        **changed,
    }


def token(key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **changed: Any) -> str:
    kept = {name: value for name, value in claims(**changed).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


def published() -> dict[str, Any]:
    keys = [
        {
            **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())),
            "kid": "one",
            "alg": "RS256",
            "use": "sig",
        },
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(CURVE.public_key())), "kid": "curve", "use": "sig"},
    ]
    return {"keys": keys}


class Server(FakeApiServer):
    """Publishes its keys as an API server does."""

    def __init__(self) -> None:
        super().__init__("/.well-known", "/openid/v1")
        self.put("/.well-known", "openid-configuration", {"issuer": ISSUER})
        self.put("/openid/v1", "jwks", published())


def keys(api: ApiServer, clock: list[float]) -> SigningKeys:
    found = SigningKeys(api, lambda: clock[0])
    assert (DISCOVERY, KEYS) == ("/.well-known/openid-configuration", "/openid/v1/jwks")
    return found


def verified(text: str, *, uid: str = "u1", later: float = 0.0, look: bool = True) -> SidecarIdentity:
    async def scene() -> SidecarIdentity:
        clock = [0.0]
        async with serving(Server()) as api:
            found = keys(api, clock)
            if look:
                await found.look()
        clock[0] = later
        return found.verify(text, lambda pod: uid if pod == "shop/web-1" else "")

    return asyncio.run(scene())


def test_a_pods_token_of_our_audience_is_good() -> None:
    assert verified(token()) == WEB
    assert verified(token(CURVE, "ES256", "curve")) == WEB
    assert verified(token(), uid="") == WEB, "of a pod that has not been heard of yet"


def bound(to: dict[str, Any]) -> str:
    """A token that is bound to this."""
    return jwt.encode({**claims(), "kubernetes.io": to}, KEY, algorithm="RS256", headers={"kid": "one"})


BOUND = claims()["kubernetes.io"]
BAD = {
    "another key": token(OTHER),
    "a key that is not known": token(kid="two"),
    "another algorithm than the key's": token(CURVE, "ES256", "one"),
    "a shared secret": jwt.encode(claims(), "x" * 40, algorithm="HS256", headers={"kid": "one"}),
    "no signature": jwt.encode(claims(), "", algorithm="none", headers={"kid": "one"}),
    "another audience": token(aud=["https://kubernetes.default.svc"]),
    "no audience": token(aud=None),
    "another issuer": token(iss="https://elsewhere"),
    "expired": token(exp=int(time.time()) - 10),
    "not yet": token(nbf=int(time.time()) + 600),
    "without an end": token(exp=None),
    "no pod's": bound({name: BOUND[name] for name in ("namespace", "serviceaccount")}),
    "a pod that is no object": bound({**BOUND, "pod": "web-1"}),
    "another account than it says": token(sub="system:serviceaccount:shop:admin"),
    "a name that is none": bound({**BOUND, "pod": {"name": "../x", "uid": "u1"}}),
    "nonsense": "a.b.c",
    "empty": "",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(TokenRejected):
        verified(text)


def test_a_token_of_an_earlier_pod_is_refused() -> None:
    with pytest.raises(TokenRejected, match="earlier pod"):
        verified(token(), uid="u2")


def test_keys_hold_for_a_day_and_not_before_they_are_known() -> None:
    assert verified(token(), later=TRUSTED - 1) == WEB
    with pytest.raises(TokenRejected, match="not known"):
        verified(token(), later=TRUSTED + 1)
    with pytest.raises(TokenRejected, match="not known"):
        verified(token(), look=False)


async def nobody() -> dict[str, str]:
    return {}


def test_only_an_api_server_that_does_not_answer_is_done_without() -> None:
    async def scene() -> None:
        server = Server()
        server.answers[PATH] = {"status": {"authenticated": False}}
        async with serving(server) as api:
            found = keys(api, [0.0])
            await found.look()
            reviews = TokenReviews(api, lambda text: found.verify(text, lambda _: ""))
            with pytest.raises(TokenRejected):
                await reviews.verify(token())
        async with ApiServer(Access(url="http://127.0.0.1:1", tls=None, headers=nobody)) as away:
            assert await TokenReviews(away, lambda text: found.verify(text, lambda _: "")).verify(token()) == WEB

    asyncio.run(scene())
