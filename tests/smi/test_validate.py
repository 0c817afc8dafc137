"""What lint doubts in manifests that are each fine alone."""

from textwrap import dedent

import pytest

from smi.decode import decode_text
from smi.sources.snapshot import FileState, Snapshot, advance, merge
from smi.validate import lint

SERVICES = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: a}, {port: 81, name: b}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v1}
spec: {selector: {app: web}, ports: [{port: 80, name: a}, {port: 81, name: b}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web-v2}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: out}, spec: {type: ExternalName, externalName: a.example}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: client}}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: web}}
spec: {serviceAccountName: server, containers: [{name: a, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes}
spec: {matches: [{name: all, methods: ["*"]}, {name: metrics, pathRegex: /metrics$}]}
---
{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: ports}}
"""


def snapshot_of(text: str) -> Snapshot:
    states = []
    for file, content in (("m.yaml", dedent(text)), ("services.yaml", SERVICES)):
        decoded = decode_text(content, file)
        assert decoded.problems == ()
        states.append(advance(FileState(file=file), decoded))
    return merge(states)


def doubts(text: str) -> list[str]:
    return [str(warning) for warning in lint(snapshot_of(text))]


def split(spec: str, name: str = "x", created: str = "null") -> str:
    return (
        "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\n"
        f"metadata: {{name: {name}, creationTimestamp: {created}}}\nspec:\n{spec}"
    )


IGNORED = "the split is ignored"
PLAIN = "  service: web\n  backends:\n  - {service: web-v1, weight: 9}\n"


def test_nothing_to_doubt() -> None:
    assert (
        doubts(split(PLAIN + "  - {service: web.default.svc.cluster.local., weight: 1}\n  matches: [{name: routes}]\n"))
        == []
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "  service: nowhere\n  backends: [{service: web-v1, weight: 1}]\n",
            ["5: spec.service: there is no Service default/nowhere"],
        ),
        (
            "  service: web.other\n  backends: [{service: nowhere, weight: 1}]\n",
            ["5: spec.service: `web.other` is in another namespace than this object: the split is ignored"],
        ),
        (
            "  service: web.svc.example\n  backends: [{service: nowhere, weight: 1}]\n",
            [
                "5: spec.service: `web.svc.example` is not a Service's name in the domain cluster.local: " + IGNORED,
            ],
        ),
        (
            PLAIN + "  - {service: gone, weight: 1}\n  - {service: out, weight: 1}\n  - {service: a.b, weight: 1}\n",
            [
                "8: spec.backends[1].service: there is no Service default/gone: the backend is left out",
                "9: spec.backends[2].service: out is an ExternalName Service: the backend is left out",
                "10: spec.backends[3].service: `a.b` is in another namespace than this object: the backend is left out",
            ],
        ),
        (
            PLAIN + "  - {service: web-v2, weight: 1}\n",
            ["8: spec.backends[1].service: web-v2 lacks port 81 of the root: it gets nothing there"],
        ),
        (PLAIN.replace("9", "0"), ["7: spec.backends: all weights are 0: every request is answered 503"]),
        (
            PLAIN + "  matches:\n  - name: gone\n  - {kind: TCPRoute, name: ports}\n",
            [
                "9: spec.matches[0].name: there is no HTTPRouteGroup default/gone: it never matches",
                "10: spec.matches[1].kind: TCPRoute never matches an HTTP request",
            ],
        ),
    ],
)
def test_splits(spec: str, expected: list[str]) -> None:
    assert doubts(split(spec)) == [f"m.yaml:{line}" for line in expected]


def test_the_younger_of_two_plain_splits_is_ignored() -> None:
    old = split(PLAIN, "z-old", "2020-01-01T00:00:00Z")
    young = split(PLAIN.replace("service: web\n", "service: web.default\n"), "a-young", "2024-01-01T00:00:00Z")
    conditional = split(PLAIN + "  matches: [{name: routes}]\n", "conditional", "2024-01-01T00:00:00Z")
    (warning,) = lint(snapshot_of("---\n".join([young, old, conditional])))
    assert (warning.subject, warning.field) == ("TrafficSplit default/a-young", "spec.service")
    assert warning.message == "default/z-old splits web already: this split is ignored (Conflicted)"


def test_of_two_of_one_age_the_first_name_counts() -> None:
    (warning,) = lint(snapshot_of(split(PLAIN, "b") + "---\n" + split(PLAIN, "a")))
    assert warning.subject == "TrafficSplit default/b"


TARGET = """\
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: x}
spec:
  destination: {kind: ServiceAccount, name: server, port: 8080}
  sources:
  - {kind: ServiceAccount, name: client}
  rules:
  - {kind: HTTPRouteGroup, name: routes, matches: [all]}
  - {kind: TCPRoute, name: ports}
"""
FLAT = """\
apiVersion: access.smi-spec.io/v1alpha1
kind: TrafficTarget
metadata: {name: x}
destination: {kind: ServiceAccount, name: nobody}
sources:
- {kind: ServiceAccount, name: nobody, namespace: other}
specs:
- {kind: HTTPRouteGroup, name: gone}
"""


RULELESS = TARGET.partition("  rules")[0]


def test_a_target_without_doubt() -> None:
    assert doubts(TARGET) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RULELESS, ["1: spec.rules: no rules: it grants nothing (GrantsNothing)"]),
        (RULELESS + "  rules: []\n", ["8: spec.rules: no rules: it grants nothing (GrantsNothing)"]),
        (
            TARGET.replace("  sources:\n  - {kind: ServiceAccount, name: client}\n", ""),
            ["1: spec.sources: no sources: it grants nothing (GrantsNothing)"],
        ),
        (
            TARGET.replace("name: server", "name: server, namespace: other"),
            ["5: spec.destination.namespace: a target counts in its own namespace default only: it grants nothing"],
        ),
        (TARGET.replace("name: server", "name: client"), []),  # nothing is known of its ports
        (TARGET.replace("8080", "80"), ["5: spec.destination.port: no container of server has port 80"]),
        (
            TARGET.replace("name: server, port: 8080", "name: nobody"),
            ["5: spec.destination.name: there is no ServiceAccount default/nobody, and nothing runs as it"],
        ),
        (TARGET.replace("{kind: ServiceAccount, name: client}", "{kind: ServiceAccount, name: default}"), []),
        (
            TARGET.replace("{kind: ServiceAccount, name: client}", "{kind: IdentityBinding, name: gone}"),
            ["7: spec.sources[0].name: there is no IdentityBinding default/gone"],
        ),
        (
            TARGET.replace("name: ports", "name: gone"),
            ["10: spec.rules[1].name: there is no TCPRoute default/gone: it grants nothing"],
        ),
        (
            TARGET.replace("[all]", "[all, metrics, gone]"),
            ["9: spec.rules[0].matches[2]: HTTPRouteGroup routes has no match `gone`"],
        ),
        (
            FLAT,
            [
                "4: destination.name: there is no ServiceAccount default/nobody, and nothing runs as it",
                "6: sources[0].name: there is no ServiceAccount other/nobody, and nothing runs as it",
                "8: specs[0].name: there is no HTTPRouteGroup default/gone: it grants nothing",
            ],
        ),
    ],
)
def test_targets(text: str, expected: list[str]) -> None:
    assert doubts(text) == [f"m.yaml:{line}" for line in expected]


def group(*matches: str) -> str:
    listed = "".join(f"  - {match}\n" for match in matches)
    head = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: g}\n"
    return f"{head}spec:\n  matches:\n{listed}"


@pytest.mark.parametrize("pattern", ["/a$", "/a/.*", ".*", "/a\\\\$", "(/a|/b)$", ""])
def test_patterns_that_say_where_they_end(pattern: str) -> None:
    assert doubts(group(f"{{name: a, pathRegex: '{pattern}'}}")) == []


@pytest.mark.parametrize("pattern", ["/", "/admin", "/a\\$", "/a\\.*", "/a.+", "/a$|/b"])
def test_patterns_that_do_not(pattern: str) -> None:
    message = f"`{pattern}` also matches every longer path; end it with `$` to mean only this"
    assert doubts(group(f"{{name: a, pathRegex: '{pattern}'}}")) == [f"m.yaml:6: spec.matches[0].pathRegex: {message}"]


def test_a_pattern_at_the_top() -> None:
    text = group("{name: a, pathRegex: /x}").replace("spec:\n  matches", "matches").replace("v1alpha4", "v1alpha1")
    (warning,) = lint(snapshot_of(text))
    assert (warning.line, warning.field) == (5, "matches[0].pathRegex")


def test_names_and_methods_of_matches() -> None:
    assert doubts(group("{name: a, methods: [GET, post]}", "{name: a}", "{name: b, methods: [GTE, PURGE]}")) == [
        "m.yaml:6: spec.matches[0].methods: methods are compared exactly: did you mean `POST`?",
        "m.yaml:7: spec.matches[1].name: another match is named `a` too",
        "m.yaml:8: spec.matches[2].methods: GTE is not a usual method: did you mean `GET`?",
    ]


@pytest.mark.parametrize(
    ("schemes", "expected"),
    [
        ("{podLabelSelector: {matchLabels: {app: web}}}", []),
        (
            "{podLabelSelector: {matchLabels: {app: wbe}}}",
            ["4: spec.schemes.podLabelSelector: no pod in namespace default has these labels"],
        ),
        ("{spiffeIdentities: [a/b]}", []),
        ("{serviceAccount: client}", []),
        ("{}", ["4: spec.schemes: no identities: it binds nobody"]),
        ("{serviceAccount: gone}", ["4: spec.schemes.serviceAccount: there is no ServiceAccount default/gone"]),
    ],
)
def test_bindings(schemes: str, expected: list[str]) -> None:
    head = "apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata: {name: x}\n"
    assert doubts(f"{head}spec: {{schemes: {schemes}}}\n") == [f"m.yaml:{line}" for line in expected]


def slice_of(service: str, rest: str = "") -> str:
    label = f"labels: {{kubernetes.io/service-name: {service}}}" if service else ""
    return f"""\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: x
  {label}
addressType: IPv4
ports:
- {{port: 80}}
{rest}
---
{{apiVersion: v1, kind: Service, metadata: {{name: picks}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: bare}}, spec: {{ports: [{{port: 80}}, {{port: 5, name: x}}]}}}}
"""


LABEL = "m.yaml:5: metadata.labels[kubernetes.io/service-name]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (slice_of("bare", "- {port: 5, name: x}"), []),
        (slice_of(""), ["m.yaml:4: metadata: no label kubernetes.io/service-name: it is no Service's"]),
        (slice_of("none"), [f"{LABEL}: there is no Service default/none"]),
        (
            slice_of("picks"),
            [f"{LABEL}: Service default/picks has a selector: its pods are called, not these endpoints"],
        ),
        (
            slice_of("bare").replace("IPv4", "FQDN"),
            ["m.yaml:6: addressType: names mean nothing in a slice: its endpoints are left out"],
        ),
        (
            slice_of("bare", "- {port: 6, name: y}\n- {port: 7, protocol: UDP}"),
            [
                "m.yaml:9: ports[1].name: Service default/bare has no TCP port named `y`: 6 is left out",
                "m.yaml:10: ports[2]: Service default/bare has no UDP port without a name: 7 is left out",
            ],
        ),
    ],
    ids=("nothing", "no label", "no Service", "selector", "names", "ports"),
)
def test_slices(text: str, expected: list[str]) -> None:
    found = lint(snapshot_of(text))
    assert [str(warning) for warning in found if warning.subject.startswith("EndpointSlice ")] == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}", []),
        ("{selector: {app: web}, ports: [{port: 80, name: t}, {port: 80, name: u, protocol: UDP}]}", []),
        (
            "{selector: {app: web}, ports: [{port: 80, name: a}, {port: 80, name: a}]}",
            [
                "spec.ports[1].name: is that of ports[0] too: Kubernetes refuses it",
                "spec.ports[1].port: is that of ports[0] too: Kubernetes refuses it",
            ],
        ),
        (
            "{selector: {app: web}, ports: [{port: 80, targetPort: htpp}]}",
            ["spec.ports[0].targetPort: no container behind it has a port named `htpp`: it leads nowhere"],
        ),
        (
            "{selector: {app: wbe}, ports: [{port: 80, targetPort: http}]}",
            ["spec.selector: no pod in namespace default has these labels: nothing answers for it"],
        ),
        ("{ports: [{port: 80}]}", ["spec: no selector, and no EndpointSlice is here: nothing answers for it"]),
        ("{}", []),
    ],
)
def test_services(spec: str, expected: list[str]) -> None:
    assert doubts(f"apiVersion: v1\nkind: Service\nmetadata: {{name: x}}\nspec: {spec}") == [
        f"m.yaml:4: {text}" for text in expected
    ]


def test_a_root_whose_requests_all_go_to_leaves_needs_no_pods() -> None:
    root = "\n---\n{apiVersion: v1, kind: Service, metadata: {name: root}, spec: {ports: [{port: 80}]}}"
    assert doubts(split("  service: root\n  backends: [{service: web-v2, weight: 1}]") + root) == []


def test_a_backend_that_stands_twice() -> None:
    twice = "  service: web\n  backends: [{service: web-v1, weight: 1}, {service: web-v1.default, weight: 1}]"
    [doubt] = doubts(split(twice))
    assert doubt.endswith("spec.backends[1].service: `web-v1.default` is a backend above already: its weights add up")


@pytest.mark.parametrize("pattern", ["api/x$", "^api/x$", "a+/x$"])
def test_patterns_that_match_no_path(pattern: str) -> None:
    [doubt] = doubts(group(f"{{name: a, pathRegex: '{pattern}'}}"))
    assert f"`{pattern}` matches no path: they all begin with `/`" in doubt


@pytest.mark.parametrize("pattern", ["/x$", "a?/x$", "a*/x$", "a|/x$", "(a|/)x$", ".x$", "[/]x$"])
def test_patterns_that_may_match_one(pattern: str) -> None:
    assert doubts(group(f"{{name: a, pathRegex: '{pattern}'}}")) == []


def test_an_object_of_unknown_origin() -> None:
    snapshot = Snapshot(objects=snapshot_of(TARGET.replace("name: ports", "name: gone")).objects)
    (warning,) = lint(snapshot)
    assert (warning.file, warning.line, warning.subject) == ("", 0, "TrafficTarget default/x")


def test_the_cluster_domain_is_a_choice() -> None:
    snapshot = snapshot_of(split(PLAIN.replace("service: web\n", "service: web.default.svc.corp\n")))
    assert len(lint(snapshot)) == 1
    assert lint(snapshot, "corp") == ()
