"""Subjects of a TrafficTarget: which identities a ServiceAccount or an IdentityBinding stands for.

As a source a subject becomes the contract's ``Source`` (what a caller's
certificate must say); as a destination it is asked whether it covers a pod.
What does not resolve stands for nobody.
"""

from __future__ import annotations

from proxy.contract.config import Source, spiffe_id
from proxy.contract.spiffe import PeerRejected, split_spiffe_id
from smi.access import IdentityBinding, Subject, TrafficTarget
from smi.errors import BadName
from smi.names import check_name
from smi.workloads import Pod
from translator.findings import Finding, Reason
from translator.names import pod_dns_name
from translator.world import World, carries


def names_destination(world: World, target: TrafficTarget, pod: Pod) -> bool:
    """Whether ``pod`` is a destination of ``target``, which counts only in its own namespace."""
    subject = target.destination
    if subject is None or _namespace(subject, target) != target.meta.namespace:
        return False
    if pod.meta.namespace != target.meta.namespace:
        return False
    return _covers(world, target, subject, pod)


def names_source(world: World, target: TrafficTarget, pod: Pod) -> bool:
    """Whether ``pod`` is a source of ``target``, whatever its rules say."""
    return any(
        _namespace(subject, target) == pod.meta.namespace and _covers(world, target, subject, pod)
        for subject in target.sources
    )


def destination_pods(world: World, target: TrafficTarget) -> tuple[Pod, ...]:
    """All pods that ``target`` names as its destination."""
    subject = target.destination
    if subject is None or _namespace(subject, target) != target.meta.namespace:
        return ()
    if subject.kind == "ServiceAccount":
        return world.pods_as(target.meta.namespace, subject.name)
    binding = _binding(world, subject, target)
    if binding is None:
        return ()
    accounts = {name for name in (binding.service_account, *_accounts(world, binding)) if name}
    found = {pod.meta.key: pod for pod in world.selected(binding.meta.namespace, binding.pod_labels)}
    for account in accounts:
        found |= {pod.meta.key: pod for pod in world.pods_as(binding.meta.namespace, account)}
    return tuple(found[key] for key in sorted(found))


def destination_findings(world: World, target: TrafficTarget) -> list[Finding]:
    """Why ``target`` has no destination, if it has none."""
    subject = target.destination
    if subject is None:
        return [
            Finding.on(
                "TrafficTarget", target.meta, Reason.NO_DESTINATION, "destination: missing; the target names nobody"
            )
        ]
    if _namespace(subject, target) != target.meta.namespace:
        message = f"destination: namespace {subject.namespace!r} is not the target's own; the target is ignored"
        return [Finding.on("TrafficTarget", target.meta, Reason.DESTINATION_IN_OTHER_NAMESPACE, message)]
    if subject.kind != "ServiceAccount" and _binding(world, subject, target) is None:
        return [_unresolved(target, "destination", subject)]
    return []


def bindings_of(world: World, target: TrafficTarget) -> list[IdentityBinding]:
    """The IdentityBindings that ``target`` names and that are there."""
    subjects = [*target.sources, *([target.destination] if target.destination is not None else [])]
    found = (_binding(world, subject, target) for subject in subjects)
    return [binding for binding in found if binding is not None]


def target_sources(world: World, target: TrafficTarget) -> tuple[tuple[Source, ...], list[Finding]]:
    """What the certificate of a caller must say, one of these, to be a source of ``target``."""
    sources: set[tuple[str, str]] = set()
    findings: list[Finding] = []
    for subject in target.sources:
        namespace = _namespace(subject, target)
        if subject.kind == "ServiceAccount" and subject.name:
            sources.add((spiffe_id(world.settings.trust_domain, namespace, subject.name), ""))
            continue
        binding = _binding(world, subject, target)
        if binding is None:
            findings.append(_unresolved(target, "sources", subject))
            continue
        findings += binding_findings(world, binding)
        accounts = (binding.service_account, *_accounts(world, binding))
        sources |= {(spiffe_id(world.settings.trust_domain, namespace, name), "") for name in accounts if name}
        sources |= {("", pod_dns_name(pod)) for pod in world.selected(namespace, binding.pod_labels)}
        sources |= {(identity, "") for identity in _foreign(world, binding)}
    return tuple(Source(identity=identity, pod=pod) for identity, pod in sorted(sources)), findings


def binding_findings(world: World, binding: IdentityBinding) -> list[Finding]:
    """The SPIFFE IDs of a binding that it may not speak for."""
    findings = []
    for text in binding.spiffe_identities:
        domain, path = _parts(text)
        if domain in world.settings.federated:
            if _foreign_identity(text):
                continue
            reason, why = Reason.INVALID_IDENTITY, "it names no workload"
        elif domain != world.settings.trust_domain:
            reason = Reason.FOREIGN_TRUST_DOMAIN
            why = f"trust domain {domain!r} is not this mesh's, and no bundle of it is configured"
        elif not _account(path, binding.meta.namespace):
            reason, why = Reason.FOREIGN_NAMESPACE, f"not /ns/{binding.meta.namespace}/sa/<name>"
        else:
            continue
        message = f"spiffeIdentities: {text!r} is ignored: {why}"
        findings.append(Finding.on("IdentityBinding", binding.meta, reason, message))
    return findings


def _namespace(subject: Subject, target: TrafficTarget) -> str:
    return subject.namespace or target.meta.namespace


def _binding(world: World, subject: Subject, target: TrafficTarget) -> IdentityBinding | None:
    if subject.kind != "IdentityBinding":
        return None
    return world.objects.bindings.get(f"{_namespace(subject, target)}/{subject.name}")


def _covers(world: World, target: TrafficTarget, subject: Subject, pod: Pod) -> bool:
    """Whether a subject stands for a pod of the subject's namespace."""
    if subject.kind == "ServiceAccount":
        return pod.service_account == subject.name
    binding = _binding(world, subject, target)
    return binding is not None and _binds(world, binding, pod)


def _binds(world: World, binding: IdentityBinding, pod: Pod) -> bool:
    account = pod.service_account
    return (
        bool(account and account == binding.service_account)
        or carries(pod, binding.pod_labels)
        or account in _accounts(world, binding)
    )


def _accounts(world: World, binding: IdentityBinding) -> tuple[str, ...]:
    """The ServiceAccounts that a binding names by SPIFFE ID: of this mesh and of its own namespace only."""
    parts = (_parts(text) for text in binding.spiffe_identities)
    accounts = (
        _account(path, binding.meta.namespace) for domain, path in parts if domain == world.settings.trust_domain
    )
    return tuple(name for name in accounts if name)


def _foreign(world: World, binding: IdentityBinding) -> list[str]:
    """The SPIFFE IDs of a binding that are of a trust domain whose bundle is configured."""
    found = (_foreign_identity(text) for text in binding.spiffe_identities)
    return [identity for identity in found if _parts(identity)[0] in world.settings.federated]


def _foreign_identity(text: str) -> str:
    """The SPIFFE ID written out, of any path; empty if it is none."""
    identity = f"spiffe://{text.removeprefix('spiffe://')}"
    try:
        split_spiffe_id(identity)
    except PeerRejected:
        return ""
    return identity


def _parts(text: str) -> tuple[str, str]:
    domain, _, path = text.removeprefix("spiffe://").partition("/")
    return domain, path


def _account(path: str, namespace: str) -> str:
    """The ServiceAccount of ``namespace`` that the path of a SPIFFE ID names, empty if none can be."""
    name = path.removeprefix(f"ns/{namespace}/sa/")
    if name == path:
        return ""
    try:
        return check_name(name)
    except BadName:
        return ""


def _unresolved(target: TrafficTarget, field: str, subject: Subject) -> Finding:
    if subject.kind == "IdentityBinding":
        message = f"{field}: IdentityBinding {_namespace(subject, target)}/{subject.name} does not exist"
        return Finding.on("TrafficTarget", target.meta, Reason.BINDING_NOT_FOUND, message)
    message = f"{field}: {subject.kind} {subject.name!r} is neither a ServiceAccount nor an IdentityBinding"
    return Finding.on("TrafficTarget", target.meta, Reason.UNSUPPORTED_KIND, message)
