"""Authentication: whom the ConfigMap says to believe, over real TLS, and what is then believed."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from apiserver import FakeApiServer, serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from eventually import eventually
from metricsworld import V2, shops
from multidict import CIMultiDict

from translator.control import set_up
from translator.identity.serving import ControlSite
from translator.kube.aggregated import frontproxy
from translator.kube.aggregated.access import PATH, AccessGate
from translator.kube.aggregated.frontproxy import CONFIG, FrontProxy, NoFrontProxy, Trusted, User, trusted, user_of
from translator.metricsapi.server import MetricsApi, Seen
from translator.metricsapi.status import Refused

COLLECTION, _, NAME = CONFIG.rpartition("/")
PEM = serialization.Encoding.PEM


class Ca:
    """A certificate authority; with ``above`` one that another has signed."""

    def __init__(self, name: str, above: Ca | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, above or self, ca=True)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(PEM).decode()

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        by: Ca,
        *,
        ca: bool,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        days: int = 1,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(by.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            # As Go writes them: with these OpenSSL tells CAs of one name apart.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            address = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(address, critical=False)
        return builder.sign(by.key, hashes.SHA256())

    def pair(self, folder: Path, *names: str, **how: Any) -> Path:
        """A file with a certificate for ``names`` (common names) and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        certificate = self._sign(subject, key, self, ca=False, **how)
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = folder / f"{certificate.serial_number}.pem"
        path.write_bytes(certificate.public_bytes(PEM) + key.private_bytes(PEM, *plain))
        return path


def config(ca: str, *names: str, **more: str) -> dict[str, str]:
    return {
        "requestheader-client-ca-file": ca,
        "requestheader-allowed-names": json.dumps(names),
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        **more,
    }


# -- the ConfigMap ----------------------------------------------------------------------------------------------------

FRONT = Ca("front CA")


def test_the_config_map() -> None:
    text = f"# Prüfstelle\n{FRONT.pem}\nnoise\n{FRONT.pem}"
    assert trusted(config(text, "front-proxy-client")) == Trusted(
        ca=f"{FRONT.pem.strip()}\n{FRONT.pem.strip()}",
        names=("front-proxy-client",),
        user_headers=("X-Remote-User",),
        uid_headers=("X-Remote-Uid",),
        group_headers=("X-Remote-Group",),
        extra_prefixes=("X-Remote-Extra-",),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"requestheader-client-ca-file": ""}, {"requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----"},
        {"requestheader-username-headers": ""}, {"requestheader-username-headers": "[]"},
        {"requestheader-username-headers": "X-Remote-User"}, {"requestheader-allowed-names": '"front"'},
        {"requestheader-allowed-names": "{"}, {"requestheader-allowed-names": "[1]"},
        {"requestheader-group-headers": '{"a": 1}'},
    ],
)  # fmt: skip
def test_a_config_map_that_says_not_enough(change: dict[str, str]) -> None:
    with pytest.raises(NoFrontProxy):
        trusted({**config(FRONT.pem), **change})


# -- headers ----------------------------------------------------------------------------------------------------------

WHOM = trusted(config(FRONT.pem, "front"))
CERTIFICATE = {"subject": ((("commonName", "front"),),)}


def believed(certificate: Any, *headers: tuple[str, str], whom: Trusted = WHOM) -> User:
    given = CIMultiDict(headers)
    return user_of(certificate, given, lambda name: given.getall(name, []), whom)


def test_a_user_as_kubernetes_writes_it() -> None:
    assert believed(
        CERTIFICATE,
        ("X-Remote-User", "jane"), ("X-Remote-Uid", "7"), ("X-Remote-Group", "a"), ("x-remote-group", "b"),
        ("X-Remote-Group", ""), ("X-Remote-Extra-Scopes", "1"), ("X-Remote-Extra-Scopes", "2"),
        ("X-Remote-Extra-Authentication.kubernetes.io%2fpod-Name", "p"), ("X_Remote_Group", "system:masters"),
    ) == User(
        name="jane", uid="7", groups=("a", "b"),
        extra=(("authentication.kubernetes.io/pod-name", ("p",)), ("scopes", ("1", "2"))),
    )  # fmt: skip


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ()}, {"subject": ((("commonName", "other"),),)},
                                         {"subject": ((("organizationName", "front"),),)},
                                         {"subject": ((("commonName", "Front"),),)}])  # fmt: skip
def test_nobody_is_believed_without_the_certificate(certificate: Any) -> None:
    with pytest.raises(Refused) as caught:
        believed(certificate, ("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"))
    assert caught.value.code == 401


@pytest.mark.parametrize("headers", [[], [("X-Remote-User", "")], [("Remote-User", "x")], [("X-Remote-Group", "x")]])
def test_no_user_is_nobody(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as caught:
        believed(CERTIFICATE, *headers)
    assert caught.value.code == 401


def test_without_names_every_certificate_of_the_ca_will_do() -> None:
    anybody = trusted(config(FRONT.pem))
    assert believed({"subject": ()}, ("X-Remote-User", "jane"), whom=anybody).name == "jane"
    with pytest.raises(Refused):
        believed({}, ("X-Remote-User", "jane"), whom=anybody)


# -- over TLS ---------------------------------------------------------------------------------------------------------


class Scene:
    """The API behind a front proxy; ``server`` is the API server, which says yes to everything."""

    def __init__(self, server: FakeApiServer, site: ControlSite, contexts: list[ssl.SSLContext], folder: Path) -> None:
        self.server, self.site, self.contexts, self.folder = server, site, contexts, folder
        self.certified = 0
        self.now = 0.0

    def trust(self, ca: str, *names: str) -> None:
        """The ConfigMap says so from now on."""
        self.server.put(COLLECTION, NAME, {"data": config(ca, *names)})

    async def looked(self) -> None:
        """The ConfigMap has been read, and acted upon."""
        looks = len(self.server.asked)
        await eventually(lambda: len(self.server.asked) > looks + 1)

    @asynccontextmanager
    async def client(self, pair: Path | None) -> AsyncIterator[Callable[..., Awaitable[int]]]:
        """Asks on one connection that is kept; gives the status."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if pair is not None:
            context.load_cert_chain(pair)
        connector = aiohttp.TCPConnector(ssl=context, limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(path: str = f"{V2}/pods", user: str = "jane", **headers: str) -> int:
                given = {"X-Remote-User": user, "X-Remote-Group": "dev", **headers}
                async with session.get(f"https://127.0.0.1:{self.site.port}{path}", headers=given) as answer:
                    body = await answer.json()
                    assert answer.status == 200 or body["code"] == answer.status
                    return answer.status

            yield ask

    async def status(self, pair: Path | None) -> int:
        """Of one request on a connection of its own; 0: there was none."""
        try:
            async with self.client(pair) as ask:
                return await ask()
        except (aiohttp.ClientError, OSError):
            return 0


def scene(folder: Path, monkeypatch: pytest.MonkeyPatch, play: Callable[[Scene], Awaitable[None]]) -> None:
    monkeypatch.setattr(frontproxy, "POLL", 0.02)
    serving_pair = Ca("webhooks").pair(folder, "server", usage=ExtendedKeyUsageOID.SERVER_AUTH)

    async def run() -> None:
        server = FakeApiServer(COLLECTION)
        server.answers[PATH] = {"status": {"allowed": True}}
        async with serving(server) as api:
            given: Scene

            def clock() -> float:
                return given.now

            def certify(context: ssl.SSLContext) -> None:
                context.load_cert_chain(serving_pair)
                given.certified += 1

            async def serve(context: ssl.SSLContext) -> None:
                await site.serve(context)
                given.contexts.append(context)

            async def observe(_: float) -> Seen:
                return Seen(shops())

            proxy = FrontProxy(api, clock)
            [runner] = await set_up(MetricsApi(AccessGate(api, proxy), observe).application())
            site = ControlSite(runner, "127.0.0.1", 0)
            given = Scene(server, site, [], folder)
            task = asyncio.create_task(proxy.follow(certify, serve))
            try:
                await play(given)
            finally:
                task.cancel()
                site.close()
                await runner.cleanup()

    asyncio.run(run())


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    return lambda what: scene(tmp_path, monkeypatch, what)


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


def test_who_is_believed(play: Play) -> None:
    async def what(scene: Scene) -> None:
        front, other = Ca("front CA"), Ca("front CA")
        scene.trust(front.pem, "front-proxy-client")
        await eventually(lambda: scene.contexts)
        assert await scene.status(front.pair(scene.folder, "front-proxy-client")) == 200
        # A forged header is worth nothing without the certificate, nor with that of somebody else.
        assert await scene.status(None) == 401
        assert await scene.status(front.pair(scene.folder, "kubelet")) == 401
        # The same names from another CA; out of date; to serve with: no connection at all.
        assert await scene.status(other.pair(scene.folder, "front-proxy-client")) == 0
        assert await scene.status(front.pair(scene.folder, "front-proxy-client", days=-1)) == 0
        server = front.pair(scene.folder, "front-proxy-client", usage=ExtendedKeyUsageOID.SERVER_AUTH)
        assert await scene.status(server) == 0
        review = scene.server.bodies[-1]["spec"]
        assert (review["user"], review["groups"]) == ("jane", ["dev"])
        assert len(scene.server.bodies) == 1

    play(what)


def test_before_the_config_map_is_read_nobody_is_served(play: Play) -> None:
    async def what(scene: Scene) -> None:
        await eventually(lambda: ("GET", CONFIG) in scene.server.asked)
        assert scene.contexts == []

    play(what)


def test_a_ca_that_another_has_signed_is_trusted_as_it_stands(play: Play) -> None:
    async def what(scene: Scene) -> None:
        front = Ca("front CA", Ca("root"))
        scene.trust(front.pem, "front")
        await eventually(lambda: scene.contexts)
        assert await scene.status(front.pair(scene.folder, "front")) == 200

    play(what)


def test_a_rotation_of_the_ca(play: Play) -> None:
    async def what(scene: Scene) -> None:
        old, new = Ca("front CA"), Ca("front CA")
        before, after = old.pair(scene.folder, "front"), new.pair(scene.folder, "front")
        scene.trust(old.pem, "front")
        await eventually(lambda: scene.contexts)
        async with scene.client(before) as kept:
            assert await kept() == 200
            assert await scene.status(after) == 0
            # Both for a while: connections go on, and both get new ones.
            scene.trust(old.pem + new.pem, "front")
            await eventually(lambda: len(scene.contexts) == 2)
            assert await kept() == 200
            assert await scene.status(before) == await scene.status(after) == 200
            # The old one is gone: not even on the connection from before is it believed.
            scene.trust(new.pem, "front")
            await eventually(lambda: len(scene.contexts) == 3)
            assert await kept() == 401
            assert await scene.status(before) == 0
            assert await scene.status(after) == 200

    play(what)


def test_names_hold_at_once_without_a_new_context(play: Play) -> None:
    async def what(scene: Scene) -> None:
        front = Ca("front CA")
        scene.trust(front.pem, "front")
        await eventually(lambda: scene.contexts)
        async with scene.client(front.pair(scene.folder, "front")) as ask:
            assert await ask() == 200
            scene.trust(front.pem, "another")
            await scene.looked()
            assert await ask() == 401
        assert len(scene.contexts) == 1

    play(what)


def test_a_config_map_that_cannot_be_read_changes_nothing(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def what(scene: Scene) -> None:
        front = Ca("front CA")
        scene.trust(front.pem, "front")
        await eventually(lambda: scene.contexts)
        for ca in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "ä"):
            scene.trust(ca, "other")
            await scene.looked()
            assert await scene.status(front.pair(scene.folder, "front")) == 200

    play(what)
    assert "cannot be trusted" in caplog.text


def test_the_certificate_that_is_served_with_is_renewed(play: Play) -> None:
    async def what(scene: Scene) -> None:
        scene.trust(Ca("front CA").pem, "front")
        await eventually(lambda: len(scene.contexts) == 1)  # only then is the time of it noted
        assert scene.certified == 1
        scene.now += frontproxy.RENEW + 1
        await eventually(lambda: scene.certified == 2)
        assert len(scene.contexts) == 1

    play(what)
