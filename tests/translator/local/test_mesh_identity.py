"""Certificates of a running mesh: exchanged under load, and judged from outside over real mTLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forge
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from forge import Leaf
from localmesh import LocalMesh, deployment, server, service, under_load, until

from proxy.preface import encode_preface
from proxy.tls import Pair, mesh_context
from translator.identity.authority import write_ca
from translator.identity.roots import private_pem

PARTNER = forge.Root()
BILLING = "spiffe://partner.example/team/billing"
CLIENT = "spiffe://cluster.local/ns/default/sa/default"


def as_account(workload: dict[str, Any], account: str) -> dict[str, Any]:
    workload["spec"]["template"]["spec"]["serviceAccountName"] = account
    return workload


def binding(name: str, **schemes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "access.smi-spec.io/v1alpha4",
        "kind": "IdentityBinding",
        "metadata": {"name": name},
        "spec": {"schemes": schemes},
    }


def target(*sources: dict[str, Any]) -> dict[str, Any]:
    """Lets ``sources`` reach the pods of the account ``guarded``."""
    return {
        "apiVersion": "access.smi-spec.io/v1alpha4",
        "kind": "TrafficTarget",
        "metadata": {"name": "guarded"},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": "guarded"},
            "sources": list(sources),
            "rules": [{"kind": "TCPRoute", "name": "all"}],
        },
    }


TCP_ROUTE = {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "TCPRoute", "metadata": {"name": "all"}}


def bound(name: str) -> dict[str, Any]:
    return {"kind": "IdentityBinding", "name": name}


class Identities:
    """A mesh seen by whoever has some certificate, and by who reads its files."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.state = mesh.home / "mesh"

    def shown(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.mesh.record()['api_port']}/identity", timeout=5) as answer:
            return dict(json.load(answer))

    def pods(self, workload: str = "") -> list[dict[str, Any]]:
        """What the supervisor wrote down of the running pods, without asking anybody."""
        records = json.loads((self.state / "pods.json").read_text())["pods"]
        found = [{"admin": record["admin"], **record["pod"], **record["pod"]["meta"]} for record in records]
        return [pod for pod in found if workload in ("", pod["workload"])]

    def pod(self, workload: str) -> dict[str, Any]:
        (pod,) = self.pods(workload)
        return pod

    def admin(self, pod: dict[str, Any], page: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{pod['admin']}/{page}", timeout=5) as answer:
            return dict(json.load(answer))

    def roots(self) -> list[str]:
        return [root["fingerprint"] for root in self.shown()["roots"]]

    def pair(self, workload: str) -> Pair:
        """What a pod's sidecar holds now."""
        pod = self.pod(workload)
        folder = self.state / "pods" / f"{pod['namespace']}.{pod['name']}"
        return Pair(certificate=(folder / "tls.crt").read_bytes(), key=(folder / "tls.key").read_bytes())

    def call(self, workload: str, pair: Pair) -> str:
        """What the sidecar of ``workload`` answers who calls with ``pair``: the status, or that it closed."""
        context = mesh_context(ssl.PROTOCOL_TLS_CLIENT, pair, (self.state / "bundle.pem").read_text())
        request = encode_preface(8080) + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        try:
            with (
                socket.create_connection((self.pod(workload)["ip"], 4143), timeout=5) as plain,
                context.wrap_socket(plain) as secured,
            ):
                secured.sendall(request)
                return secured.recv(100).decode().partition("\r\n")[0].partition(" ")[2] or "closed"
        except (ssl.SSLError, ConnectionError):
            return "closed"


def issuer_of(pair: Pair) -> str:
    key_id = x509.load_pem_x509_certificate(pair.certificate).extensions.get_extension_for_class(
        x509.AuthorityKeyIdentifier
    )
    return (key_id.value.key_identifier or b"").hex()


# -- a CA that the mesh made for itself, and a partner -----------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identities]:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "partner.pem").write_text(PARTNER.pem)
    mesh = LocalMesh(folder)
    mesh.write("web.yaml", server("web", says="v1", replicas=2), service("web"))
    mesh.write("client.yaml", deployment("client"))
    mesh.write("guarded.yaml", as_account(server("guarded"), "guarded"), service("guarded"), TCP_ROUTE)
    mesh.start("--federate", f"partner.example={folder / 'partner.pem'}")
    yield Identities(mesh)
    mesh.close()


def test_a_new_root_loses_no_request(seen: Identities, tmp_path: Path) -> None:
    mesh, before = seen.mesh, seen.pair("client")
    (old,) = seen.roots()
    said = []
    answers = under_load(mesh, tmp_path, lambda: said.append(mesh.smi("rotate-root")), connections=4)

    assert answers.keys() == {"200 v1"}
    assert answers["200 v1"] > 100
    assert (said[0].returncode, said[0].stderr) == (0, "")
    assert said[0].stdout.splitlines()[1:] == [
        "every sidecar trusts it beside the old one; certificates are renewed by it",
        "every sidecar has a certificate of it; the old root is trusted no more",
    ]
    assert old not in seen.roots()
    assert len(seen.roots()) == 1
    assert issuer_of(seen.pair("client")) != issuer_of(before)
    mesh.write("target.yaml", target({"kind": "ServiceAccount", "name": "default"}))
    until(lambda: seen.call("guarded", seen.pair("client")) == "200 OK", "the new certificate is one")
    assert seen.call("guarded", before) == "closed"


def test_a_controller_killed_while_roots_are_exchanged_goes_on_with_it(seen: Identities, tmp_path: Path) -> None:
    mesh, (old,) = seen.mesh, seen.roots()
    killed = []

    def exchange() -> None:
        with mesh.follow("rotate-root") as rotating:
            for stage in ("trusting", "renewing"):
                until(lambda stage=stage: stage_of(seen) == stage, f"it is {stage}")  # type: ignore[misc]
                killed.append(mesh.record()["controller_pid"])
                os.kill(killed[-1], signal.SIGKILL)
                until(lambda: mesh.record()["controller_pid"] not in (0, *killed), "it runs again")
            assert rotating.wait(60) == 0

    assert under_load(mesh, tmp_path, exchange, connections=2).keys() == {"200 v1"}
    assert old not in seen.roots()
    assert len(seen.roots()) == 1


def stage_of(seen: Identities) -> str:
    try:
        return str(seen.shown()["stage"])
    except OSError:
        return "the controller is away"


def test_bindings_of_every_scheme_let_in_whom_they_name_and_nobody_else(seen: Identities) -> None:
    """The guarded pod is called by hand, so that each certificate shows exactly what it is judged by."""
    mesh, ours = seen.mesh, seen.pair("client")
    billing, other = (PARTNER.sign(Leaf(uris=(uri,), dns=())) for uri in (BILLING, f"{BILLING}2"))
    forged = PARTNER.sign(Leaf(uris=(CLIENT,), dns=()))
    pod_of_ours = PARTNER.sign(Leaf(uris=(f"{BILLING}3",), dns=(f"{seen.pod('client')['name']}.default.pod",)))
    callers = {"ours": ours, "billing": billing, "other": other, "forged": forged, "pod": pod_of_ours}

    def let_in(**schemes: Any) -> set[str]:
        mesh.write("target.yaml", target(bound("who")), binding("who", **schemes))
        until(lambda: in_force(seen, schemes), f"the guarded pod goes by {schemes}")
        answers = {name: seen.call("guarded", pair) for name, pair in callers.items()}
        assert answers["forged"] == "closed", "their root speaks for their trust domain alone"
        assert set(answers.values()) <= {"200 OK", "403 Forbidden", "closed"}
        return {name for name, answer in answers.items() if answer == "200 OK"}

    assert let_in(serviceAccount="default") == {"ours"}
    assert let_in(serviceAccount="another") == set()
    assert let_in(podLabelSelector={"matchLabels": {"app": "client"}}) == {"ours"}
    assert let_in(podLabelSelector={"matchLabels": {"app": "web"}}) == set()
    assert let_in(spiffeIdentities=[BILLING]) == {"billing"}
    assert let_in(spiffeIdentities=[BILLING.removeprefix("spiffe://")], serviceAccount="default") == {"ours", "billing"}
    assert let_in(spiffeIdentities=[CLIENT]) == {"ours"}
    assert let_in(spiffeIdentities=["spiffe://stranger.example/team/billing"]) == set()


def in_force(seen: Identities, schemes: dict[str, Any]) -> bool:
    """Whether the guarded pod's sidecar has acknowledged a config with these schemes."""
    sources = set()
    if schemes.get("serviceAccount"):
        sources.add(f"spiffe://cluster.local/ns/default/sa/{schemes['serviceAccount']}")
    for pod in seen.pods():
        if schemes.get("podLabelSelector", {}).get("matchLabels", {}).items() <= pod["labels"].items():
            sources |= {f"{pod['name']}.default.pod"} if "podLabelSelector" in schemes else set()
    for text in schemes.get("spiffeIdentities", ()):
        if "stranger" not in text:
            sources.add(f"spiffe://{text.removeprefix('spiffe://')}")
    grants = seen.admin(seen.pod("guarded"), "config")["inbound"]["grants"]
    return {value for grant in grants for source in grant["sources"] for value in source.values()} == sources


def test_a_partner_whose_bundle_is_replaced_is_judged_by_the_new_one(seen: Identities) -> None:
    mesh, successor = seen.mesh, forge.Root()
    mesh.write("target.yaml", target(bound("who")), binding("who", spiffeIdentities=[BILLING]))
    old, new = (root.sign(Leaf(uris=(BILLING,), dns=())) for root in (PARTNER, successor))
    until(lambda: seen.call("guarded", old) == "200 OK", "the partner is let in")
    assert seen.call("guarded", new) == "closed"
    file = mesh.home.parent / "partner.pem"
    fresh = file.with_suffix(".new")
    fresh.write_text(successor.pem)
    fresh.replace(file)
    until(lambda: seen.call("guarded", new) == "200 OK", "the new bundle is in force")
    assert seen.call("guarded", old) == "closed"


# -- a CA of the operator's own, and short lives -----------------------------------------------------------------------


class Company:
    """A root, and issuers below it, in a folder that a mesh is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.root = self.new_root("the first")
        self.trust(self.root)
        self.issue_by(self.root)

    @staticmethod
    def new_root(name: str) -> forge.Root:
        return forge.Root(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))

    def trust(self, *roots: forge.Root) -> None:
        self.put("ca.crt", "".join(root.pem for root in roots))

    def issue_by(self, root: forge.Root) -> None:
        """A new issuer below ``root``, its files one after the other as by hand."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = Leaf(
            subject="issuer", names=False, ca=True, usage=("key_cert_sign",), extended=None, new_key=lambda: key
        )  # fmt: skip
        self.put("issuer.key", private_pem(key).decode())
        self.put("issuer.crt", root.sign(leaf).certificate.decode())

    def put(self, name: str, text: str) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text)
        fresh.replace(self.folder / name)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("company") / "ca")


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory, company: Company) -> Iterator[Identities]:
    mesh = LocalMesh(tmp_path_factory.mktemp("hurried"))
    mesh.write("web.yaml", server("web", says="v1", replicas=2), service("web"))
    mesh.write("client.yaml", deployment("client"))
    mesh.start("--ca", str(company.folder), "--issuance-lifetime", "5s")
    yield Identities(mesh)
    mesh.close()


def test_certificates_that_live_five_seconds_are_renewed_under_load(hurried: Identities, tmp_path: Path) -> None:
    held: dict[str, set[str]] = {}

    def looked() -> bool:
        for pod in hurried.pods():
            held.setdefault(pod["name"], set()).add(hurried.admin(pod, "status")["certificateExpires"])
        return all(len(several) >= 4 for several in held.values())

    answers = under_load(hurried.mesh, tmp_path, lambda: until(looked, "four certificates each", 40), connections=4)
    assert answers.keys() == {"200 v1"}
    for pod in hurried.mesh.pods():
        mapped = Path(f"/proc/{pod['sidecar']['pid']}/maps").read_text()
        assert "_ssl" in mapped
        assert "cryptography" not in mapped, "the library that makes keys stays in the children"


def test_files_exchanged_by_hand_step_by_step_lose_no_request(
    hurried: Identities, company: Company, tmp_path: Path
) -> None:  # fmt: skip
    second = company.new_root("the second")

    def exchange() -> None:
        company.trust(company.root, second)
        until(lambda: len(hurried.roots()) == 2, "both roots are trusted")
        company.issue_by(second)
        until(lambda: signing(hurried) == newest_issuer(company), "the new issuer signs", 30)
        company.trust(second)
        until(lambda: len(hurried.roots()) == 1, "the old root is gone", 30)

    assert under_load(hurried.mesh, tmp_path, exchange, connections=2).keys() == {"200 v1"}
    chain = x509.load_pem_x509_certificates(hurried.pair("client").certificate)
    chain[1].verify_directly_issued_by(second.certificate)


def signing(seen: Identities) -> str:
    return str(seen.shown()["issuer"]["fingerprint"])


def newest_issuer(company: Company) -> str:
    issuer = x509.load_pem_x509_certificate((company.folder / "issuer.crt").read_bytes())
    return issuer.fingerprint(hashes.SHA256()).hex()


def test_a_root_of_the_operators_own_is_not_exchanged_by_the_mesh(hurried: Identities, company: Company) -> None:
    done = hurried.mesh.smi("rotate-root")
    assert done.returncode == 1
    assert f"this mesh has the CA of {company.folder}: put the new files there" in done.stderr


def test_a_wrong_file_is_told_and_changes_nothing(hurried: Identities, company: Company) -> None:
    mesh, good = hurried.mesh, (company.folder / "issuer.key").read_text()
    company.put("issuer.key", private_pem(ec.generate_private_key(ec.SECP256R1())).decode())
    until(lambda: mesh.status()["problems"], "the problem is told")
    (problem,) = mesh.status()["problems"]
    assert problem["file"] == str(company.folder)
    assert problem["message"] == "issuer.key does not belong to issuer.crt"
    assert f"{company.folder}:1: file: issuer.key does not belong to issuer.crt" in mesh.said()
    before = hurried.pair("client").certificate
    until(lambda: hurried.pair("client").certificate != before, "certificates are issued as before")
    company.put("issuer.key", good)
    until(lambda: not mesh.status()["problems"], "the problem is gone")


def test_a_mesh_with_a_ca_that_does_not_fit_does_not_start(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path)
    write_ca(tmp_path, PARTNER.pem, forge.Root().pem, private_pem(forge.Root().key))
    done = mesh.smi("up", str(mesh.manifests), "--ca", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {tmp_path}: issuer.key does not belong to issuer.crt\n"
    done = mesh.smi("up", str(mesh.manifests), "--federate", f"partner.example={tmp_path / 'issuer.key'}")
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path / 'issuer.key'}: the bundle cannot be read as PEM certificates\n"
