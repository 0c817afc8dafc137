"""Wrong manifests: each fault with its file, line, field and reason, all of a file at once."""

from textwrap import dedent

import pytest

from smi.decode import Problem, decode_object, decode_text
from smi.wire.core import WireService

HEAD = "apiVersion: {}\nkind: {}\nmetadata:\n  name: x\n"
SPLIT1 = HEAD.format("split.smi-spec.io/v1alpha1", "TrafficSplit")
SPLIT2 = HEAD.format("split.smi-spec.io/v1alpha2", "TrafficSplit")
TARGET1 = HEAD.format("access.smi-spec.io/v1alpha1", "TrafficTarget")
TARGET3 = HEAD.format("access.smi-spec.io/v1alpha3", "TrafficTarget")
BINDING = HEAD.format("access.smi-spec.io/v1alpha4", "IdentityBinding")
GROUP = HEAD.format("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup")
GROUP1 = HEAD.format("specs.smi-spec.io/v1alpha1", "HTTPRouteGroup")
TCP = HEAD.format("specs.smi-spec.io/v1alpha4", "TCPRoute")
NAMELESS_ITEM = "- apiVersion: specs.smi-spec.io/v1alpha4\n  kind: TCPRoute\n  metadata: {}\n"

LEAVES = "  backends:\n  - service: a\n    weight: 1\n  - service: b\n    weight: {}\n"


def problems_of(text: str) -> list[str]:
    decoded = decode_text(dedent(text), "m.yaml")
    assert decoded.objects == ()
    return [str(problem) for problem in decoded.problems]


def test_a_problem_reads_as_compilers_print_it() -> None:
    problem = Problem(file="a.yaml", line=3, field="spec.backends[1].weight", message="required")
    assert str(problem) == "a.yaml:3: spec.backends[1].weight: required"


QUANTITY = "is not a quantity such as 900m, 0.5 or 1"
WHOLE = "must be a whole number at this version (quantities are v1alpha1's), not"
NAME_RULE = "lower-case letters, digits and `-`, beginning and ending with a letter or digit"


@pytest.mark.parametrize(
    ("head", "weight", "message"),
    [
        (SPLIT1, "-100m", "must not be negative, is -100m"),
        (SPLIT1, "-1", "must not be negative, is -1"),
        (SPLIT1, "10%", f"`10%` {QUANTITY}"),
        (SPLIT1, ".inf", f"`inf` {QUANTITY}"),
        (SPLIT1, "true", "must be a quantity such as 900m, 0.5 or 1, not `True`"),
        (SPLIT1, "[1]", "must be a quantity such as 900m, 0.5 or 1, not `[1]`"),
        (SPLIT1, "null", "required"),
        (SPLIT2, "900m", f"{WHOLE} `900m`"),
        (SPLIT2, "0.5", f"{WHOLE} `0.5`"),
        (SPLIT2, '"-1"', f"{WHOLE} `-1`"),
        (SPLIT2, "yes", f"{WHOLE} `True`"),
        (SPLIT2, "-1", "must not be negative, is -1"),
        (SPLIT2, "9223372036854775808", "is too large, at most 9223372036854775807"),
        (SPLIT2, "null", "required"),
    ],
)
def test_weights(head: str, weight: str, message: str) -> None:
    text = f"{head}spec:\n  service: web\n{LEAVES.format(weight)}"
    assert problems_of(text) == [f"m.yaml:11: spec.backends[1].weight: {message}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # required fields and wrong shapes
        (SPLIT2, ["1: spec: required"]),
        (SPLIT2 + "spec: {}\n", ["5: spec.service: required", "5: spec.backends: required"]),
        (SPLIT2 + "spec: 5\n", ["5: spec: must be a mapping, not `5`"]),
        (SPLIT2 + "spec:\n  service: web\n  backends: []\n", ["7: spec.backends: must have at least one entry"]),
        (SPLIT2 + "spec:\n  service: web\n  backends: {a: 1}\n", ["7: spec.backends: must be a list, not a mapping"]),
        (
            SPLIT2 + "spec:\n  service: 5\n" + LEAVES.format(1),
            ["6: spec.service: must be text, not `5`, put it in quotes"],
        ),
        (
            SPLIT2 + "spec:\n  service: web\n  backends:\n  - web\n",
            ["8: spec.backends[0]: must be a mapping, not `web`"],
        ),
        # misspelled keys
        (
            SPLIT2 + "spec:\n  service: web\n  backend:\n  - service: a\n",
            ["6: spec.backends: required", "8: spec.backend: unknown field, did you mean `backends`?"],
        ),
        (
            SPLIT2 + "spec:\n  sevice: web\n  backends:\n  - service: a\n    weigth: 1\n",
            [
                "6: spec.service: required",
                "6: spec.sevice: unknown field, did you mean `service`?",
                "8: spec.backends[0].weight: required",
                "9: spec.backends[0].weigth: unknown field, did you mean `weight`?",
            ],
        ),
        (
            SPLIT2 + "spec:\n  apex: web\n  backends:\n  - service: a\n    weight: 1\n",
            [
                "6: spec.apex: unknown field; known here: service, backends, matches",
                "6: spec.service: required",
            ],
        ),
        (
            SPLIT2 + "spec:\n  service: web\n  match:\n  - name: g\n" + LEAVES.format(1),
            ["8: spec.match: unknown field, did you mean `matches`?"],
        ),
        (
            GROUP + "spec:\n  matches:\n  - name: a\n    path_regex: /x\n    method: [GET]\n    header: {a: b}\n",
            [
                "8: spec.matches[0].path_regex: unknown field, did you mean `pathRegex`?",
                "9: spec.matches[0].method: unknown field, did you mean `methods`?",
                "10: spec.matches[0].header: unknown field, did you mean `headers`?",
            ],
        ),
        (
            TCP.replace("  name: x", "  nmae: x"),
            ["4: metadata.name: required", "4: metadata.nmae: unknown field, did you mean `name`?"],
        ),
        (TCP + "  namspace: shop\n", ["5: metadata.namspace: unknown field, did you mean `namespace`?"]),
        (TARGET3 + "spce: {}\n", ["5: spce: unknown field, did you mean `spec`?"]),
        # names
        (
            TCP.replace("name: x", "name: My_Route"),
            [f"4: metadata.name: `My_Route` is not a valid name: {NAME_RULE}; `.` only between those"],
        ),
        (TCP.replace("name: x", "name: 5"), ["4: metadata.name: must be text, not `5`, put it in quotes"]),
        (TCP.replace("name: x", "name: ''"), ["4: metadata.name: must not be empty"]),
        (TCP + "  namespace: a.b\n", [f"5: metadata.namespace: `a.b` is not a valid name: {NAME_RULE}"]),
        (TCP + "  labels: {a: 1}\n", ["5: metadata.labels.a: must be text, not `1`, put it in quotes"]),
        (
            TCP + "  annotations:\n    smi-mesh.io/inject: yes\n",
            ["6: metadata.annotations[smi-mesh.io/inject]: must be text, not `True`, put it in quotes"],
        ),
        (
            TCP + "  creationTimestamp: 2024-01-01\n",
            ["5: metadata.creationTimestamp: must be a time such as 2024-05-01T12:00:00Z, not `2024-01-01`"],
        ),
        (
            TCP + "  creationTimestamp: yesterday\n",
            ["5: metadata.creationTimestamp: must be a time such as 2024-05-01T12:00:00Z, not `yesterday`"],
        ),
        (
            SPLIT2 + "spec:\n  service: we_b\n" + LEAVES.format(1),
            [f"6: spec.service: `we_b` is not a valid name: {NAME_RULE}; `.` only between those"],
        ),
        # TrafficTarget
        (TARGET1, ["1: destination: required"]),
        (TARGET1 + "destination: {kind: ServiceAccount}\n", ["5: destination.name: required"]),
        (TARGET3 + "spec:\n  rules: []\n", ["6: spec.destination: required"]),
        (
            TARGET3 + "spec:\n  destination:\n    kind: Group\n    name: x\n    port: http\n",
            [
                "7: spec.destination.kind: `Group` is not known here; known: ServiceAccount, IdentityBinding",
                "9: spec.destination.port: must be a port, 1 to 65535, not `http`",
            ],
        ),
        (
            TARGET3
            + "spec:\n  destination: {kind: ServiceAccount, name: s}\n  rules:\n  - kind: HTTPRoutGroup\n    name: g\n",
            ["8: spec.rules[0].kind: `HTTPRoutGroup` is not known here, did you mean `HTTPRouteGroup`?"],
        ),
        (
            TARGET1 + "destination: {kind: ServiceAccount, name: s, port: 0}\nspecs: {}\nsources:\n- name: c\n",
            [
                "5: destination.port: must be a port, 1 to 65535, is 0",
                "6: specs: must be a list, not a mapping",
                "8: sources[0].kind: required",
            ],
        ),
        # IdentityBinding
        (BINDING + "spec: {}\n", ["5: spec.schemes: required"]),
        (
            BINDING + "spec:\n  schemes:\n    podLabelSelector: {matchLabels: {a: b}}\n    serviceAccount: web\n",
            ["8: spec.schemes.serviceAccount: excludes podLabelSelector: only one of the two may be there"],
        ),
        (
            BINDING
            + "spec:\n  schemes:\n    podLabelSelector:\n      matchExpressions: [{key: a, operator: Exists}]\n",
            ["8: spec.schemes.podLabelSelector.matchExpressions: is not supported, use matchLabels"],
        ),
        (
            BINDING
            + "spec:\n  schemes:\n    podLabelSelectors:\n    - matchLabels: {a: b}\n    - matchLabels: {a: c}\n",
            ["9: spec.schemes.podLabelSelectors[1]: only one selector is supported"],
        ),
        (
            BINDING
            + "spec:\n  schemes:\n    spiffeIdentities:\n"
            + "    - spiffe://Cluster.local/ns/a\n    - ok/a\n    - ''\n    - a/../b\n",
            [
                f"{line}: spec.schemes.spiffeIdentities[{index}]: `{text}` is not a SPIFFE ID such as "
                "spiffe://cluster.local/ns/default/sa/web"
                for line, index, text in [(8, 0, "spiffe://Cluster.local/ns/a"), (10, 2, ""), (11, 3, "a/../b")]
            ],
        ),
        # routes
        (
            GROUP + "spec:\n  matches:\n  - name: a\n    pathRegex: /(x\n",
            ["8: spec.matches[0].pathRegex: is not a regular expression of RE2: missing ): /(x"],
        ),
        (
            GROUP1 + "matches:\n- name: a\n  pathRegex: (?=x)\n- pathRegex: /\n",
            [
                "7: matches[0].pathRegex: is not a regular expression of RE2: invalid perl operator: (?=",
                "8: matches[1].name: required",
            ],
        ),
        (
            GROUP + "spec:\n  matches:\n  - name: a\n    headers:\n      x-a: '['\n      x b: y\n      x-c: yes\n",
            [
                "9: spec.matches[0].headers.x-a: is not a regular expression of RE2: missing ]: [",
                "10: spec.matches[0].headers[x b]: `x b` is not the name of a header",
                "11: spec.matches[0].headers.x-c: must be text, not `True`, put it in quotes",
            ],
        ),
        (
            GROUP + "spec:\n  matches:\n  - name: a\n    headers:\n    - x-a: a\n    - x-b: '['\n",
            ["10: spec.matches[0].headers[1].x-b: is not a regular expression of RE2: missing ]: ["],
        ),
        (
            GROUP + "spec:\n  matches:\n  - name: a\n    methods: GET\n  - name: b\n    methods: [GET, 'P T', 5]\n",
            [
                "8: spec.matches[0].methods: must be a list, not `GET`",
                "10: spec.matches[1].methods[1]: `P T` is not an HTTP method",
                "10: spec.matches[1].methods[2]: must be text, not `5`, put it in quotes",
            ],
        ),
        (
            TCP + "spec:\n  matches:\n    ports: [80, 0, 65536, http]\n",
            [
                "7: spec.matches.ports[1]: must be a port, 1 to 65535, is 0",
                "7: spec.matches.ports[2]: must be a port, 1 to 65535, is 65536",
                "7: spec.matches.ports[3]: must be a port, 1 to 65535, not `http`",
            ],
        ),
        (TCP + "spec:\n  matches: [{ports: [80]}]\n", ["6: spec.matches: must be a mapping, not a list"]),
        # kinds and versions
        (
            HEAD.format("split.smi-spec.io/v1alpha9", "TrafficSplit"),
            ["1: apiVersion: TrafficSplit has no version `v1alpha9`; known: v1alpha1, v1alpha2, v1alpha3, v1alpha4"],
        ),
        (
            HEAD.format("access.smi-spec.io/v1alpha3", "IdentityBinding"),
            ["1: apiVersion: IdentityBinding has no version `v1alpha3`; known: v1alpha4"],
        ),
        (
            HEAD.format("split.smi-spec.io/v1alpha4", "TrafficSpilt"),
            ["2: kind: `TrafficSpilt` is not known, did you mean `TrafficSplit`?"],
        ),
        (
            HEAD.format("split.smi-spec.io/v1alpha4", "Traffic"),
            ["2: kind: `Traffic` is not known: split.smi-spec.io has no such kind"],
        ),
        (HEAD.format("v1", "Serv"), ["2: kind: `Serv` is not known, did you mean `Service`?"]),
        (
            HEAD.format("specs.smi-spec.io/v1alpha3", "TrafficTarget"),
            ["1: apiVersion: TrafficTarget belongs to access.smi-spec.io, not to `specs.smi-spec.io`"],
        ),
        (
            HEAD.format("split.smi-specs.io/v1alpha3", "TrafficSplit"),
            ["1: apiVersion: TrafficSplit belongs to split.smi-spec.io, not to `split.smi-specs.io`"],
        ),
        # no objects at all
        ("", ["1: file: is empty: there is no object in it"]),
        ("# soon\n", ["1: file: is empty: there is no object in it"]),
        ("apiVersi", ["1: yaml: must be an object: a mapping with apiVersion, kind and metadata, not `apiVersi`"]),
        ("- 1\n", ["1: yaml: must be an object: a mapping with apiVersion, kind and metadata, not a list"]),
        ("a: b\n", ["1: apiVersion: required", "1: kind: required"]),
        ("apiVersion: v1\nkind: 5\n", ["2: kind: must be text, not `5`"]),
        ("apiVersion: v1\nkind: List\nitems: 5\n", ["3: items: must be a list"]),
        (
            "apiVersion: v1\nkind: List\nitems:\n- 5\n" + NAMELESS_ITEM,
            [
                "4: items[0]: must be an object: a mapping with apiVersion, kind and metadata, not `5`",
                "7: items[1].metadata.name: required",
            ],
        ),
    ],
)
def test_faults(text: str, expected: list[str]) -> None:
    assert sorted(problems_of(text)) == sorted(f"m.yaml:{line}" for line in expected)


POD = "spec: {containers: [{name: a, PLACE}]}"


@pytest.mark.parametrize(
    ("head", "rest", "where", "meant"),
    [
        ("v1 Service", "spec: {selctor: {a: b}}", "spec.selctor", "selector"),
        ("v1 Service", "spec: {ports: [{port: 80, targetPrt: 8080}]}", "spec.ports[0].targetPrt", "targetPort"),
        ("v1 Service", "sepc: {}", "sepc", "spec"),
        ("v1 ConfigMap", "dta: {}", "dta", "data"),
        (
            "apps/v1 Deployment",
            "spec: {replcas: 2, template: {spec: {containers: [{name: a}]}}}",
            "spec.replcas",
            "replicas",
        ),
        (
            "v1 Pod",
            "spec: {serviceAcountName: b, containers: [{name: a}]}",
            "spec.serviceAcountName",
            "serviceAccountName",
        ),
        ("v1 Pod", POD.replace("PLACE", "comand: [a]"), "spec.containers[0].comand", "command"),
        ("v1 Pod", POD.replace("PLACE", "readinesProbe: {}"), "spec.containers[0].readinesProbe", "readinessProbe"),
        ("v1 Pod", POD.replace("PLACE", "env: [{name: a, vale: b}]"), "spec.containers[0].env[0].vale", "value"),
        (
            "v1 Pod",
            POD.replace("PLACE", "readinessProbe: {httpGt: {}}"),
            "spec.containers[0].readinessProbe.httpGt",
            "httpGet",
        ),
    ],
)
def test_fields_of_kubernetes_that_look_misspelled(head: str, rest: str, where: str, meant: str) -> None:
    assert problems_of(HEAD.format(*head.split()) + rest) == [
        f"m.yaml:5: {where}: unknown field, did you mean `{meant}`?"
    ]


def test_a_cluster_ip_that_is_none() -> None:
    spec = "spec: {clusterIP: none, ports: [{port: 80}]}"
    assert problems_of(HEAD.format("v1", "Service") + spec) == [
        "m.yaml:5: spec.clusterIP: must be an address or None, not `none`"
    ]


def test_an_api_server_may_know_more_fields() -> None:
    newer = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"selectors": []}}
    assert not isinstance(decode_object(newer, WireService, "Service x"), list)


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        ("v1", "Servce", "2: kind: `Servce` is not known, did you mean `Service`?"),
        ("v1", "service", "2: kind: `service` is not known, did you mean `Service`?"),
        ("apps/v1", "Deploymnt", "2: kind: `Deploymnt` is not known, did you mean `Deployment`?"),
        ("v1", "Deployment", "1: apiVersion: Deployment belongs to apps/v1, not to `v1`"),
        ("app/v1", "StatefulSet", "1: apiVersion: StatefulSet belongs to apps/v1, not to `app/v1`"),
    ],
)
def test_kinds_of_kubernetes_that_look_misspelled(api_version: str, kind: str, expected: str) -> None:
    assert problems_of(HEAD.format(api_version, kind)) == [f"m.yaml:{expected}"]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        *(("v1", kind) for kind in ("Endpoints", "Node", "PodTemplate", "Secret", "ConfigMapList")),
        *(("apps/v1", kind) for kind in ("DaemonSet", "ReplicaSet", "ControllerRevision")),
        ("batch/v1", "Job"),
        ("serving.knative.dev/v1", "Service"),
    ],
)
def test_kinds_of_others(api_version: str, kind: str) -> None:
    assert decode_text(HEAD.format(api_version, kind), "m.yaml").problems == ()


def test_all_problems_of_a_file_in_order_of_lines() -> None:
    found = problems_of(
        """\
        apiVersion: split.smi-spec.io/v1alpha1
        kind: TrafficSplit
        metadata: {name: Canary}
        spec:
          service: web
          service: web2
          backends:
          - {service: a, weight: 1x}
        ---
        apiVersion: specs.smi-spec.io/v1alpha4
        kind: TCPRoute
        metadata: {name: fine}
        ---
        apiVersion: specs.smi-spec.io/v1alpha4
        kind: TCPRoute
        metadata: {name: ports}
        spec: {matches: {ports: [0]}}
        ---
        a: b: c
        """
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["m.yaml:3", "metadata.name"],
        ["m.yaml:6", "spec.service"],
        ["m.yaml:8", "spec.backends[0].weight"],
        ["m.yaml:17", "spec.matches.ports[0]"],
        ["m.yaml:19", "yaml"],
    ]


def test_one_wrong_document_takes_the_file_with_it() -> None:
    decoded = decode_text(f"{TCP}---\n{TCP.replace('name: x', 'name: Y')}", "m.yaml")
    assert decoded.objects == ()
    assert decoded.origins == ()
    assert len(decoded.problems) == 1


def test_a_regex_is_bounded() -> None:
    (found,) = problems_of(f"{GROUP}spec:\n  matches:\n  - name: a\n    pathRegex: {'x' * 5000}\n")
    assert found == "m.yaml:8: spec.matches[0].pathRegex: is longer than 4096 characters"
    (found,) = problems_of(f"{GROUP}spec:\n  matches:\n  - name: a\n    pathRegex: ((a{{999}}){{999}}){{999}}\n")
    assert found.startswith("m.yaml:8: spec.matches[0].pathRegex: is not a regular expression of RE2: ")


def test_re2_does_not_write_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    problems_of(f"{GROUP}spec:\n  matches:\n  - name: a\n    pathRegex: (\n")
    assert capfd.readouterr().err == ""
