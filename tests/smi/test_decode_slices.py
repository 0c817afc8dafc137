"""EndpointSlices as they are written, to the hub's object."""

from textwrap import dedent

import pytest

from smi.decode import decode_text
from smi.meta import Meta
from smi.workloads import EndpointSlice, SliceEndpoint, SlicePort


def test_a_slice_as_an_api_server_has_it() -> None:
    text = """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: db-x.y, namespace: shop, labels: {kubernetes.io/service-name: db}}
        addressType: IPv4
        endpoints:
        - addresses: [192.0.2.1, 192.0.2.2]
          conditions: {ready: null, serving: null}
          hints: {forZones: [{name: a}]}
          nodeName: node0
          targetRef: {kind: Pod, name: p, namespace: other, uid: x}
          zone: a
        - addresses: [192.0.2.3]
          conditions: {ready: false, serving: true, terminating: true}
          targetRef: {kind: Pod, name: q}
        - {addresses: [192.0.2.4], conditions: {ready: false}, targetRef: {kind: Node, name: n}}
        ports:
        - {name: "", port: 80, protocol: TCP, appProtocol: kubernetes.io/h2c}
        - {name: all}
    """
    assert decode_text(dedent(text), "m.yaml").objects == (
        EndpointSlice(
            meta=Meta(name="db-x.y", namespace="shop", labels={"kubernetes.io/service-name": "db"}),
            service="db",
            endpoints=(
                SliceEndpoint(address="192.0.2.1", pod="other/p"),
                SliceEndpoint(address="192.0.2.3", ready=False, serving=True, terminating=True, pod="shop/q"),
                SliceEndpoint(address="192.0.2.4", ready=False, serving=False),
            ),
            ports=(SlicePort(port=80, app_protocol="kubernetes.io/h2c"),),
        ),
    )


@pytest.mark.parametrize(
    ("kind", "addresses", "problem"),
    [
        ("IPv4", "['fd00::1']", "m.yaml:5: endpoints[0].addresses[0]: must be an IPv4 address, not `fd00::1`"),
        ("IPv6", "['fd00::1', x]", "m.yaml:5: endpoints[0].addresses[1]: must be an IPv6 address, not `x`"),
        ("IPv4", "[]", "m.yaml:5: endpoints[0].addresses: must have at least one entry"),
        ("IPv5", "[x]", "m.yaml:4: addressType: `IPv5` is not known here, did you mean `IPv6`?"),
    ],
)
def test_addresses_of_a_slice_are_of_its_type(kind: str, addresses: str, problem: str) -> None:
    text = (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n"
        f"addressType: {kind}\nendpoints: [{{addresses: {addresses}}}]\n"
    )
    assert [str(one) for one in decode_text(text, "m.yaml").problems] == [problem]
