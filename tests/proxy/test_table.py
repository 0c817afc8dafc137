"""From an authority to a route, and what outlives a new table."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from proxy.contract.config import (
    Backend,
    Balance,
    Breaker,
    Cluster,
    Config,
    Endpoint,
    Host,
    HttpMatch,
    Policy,
    Port,
    Retry,
    Rule,
    Service,
)
from proxy.errors import ConfigRejected
from proxy.table import Lasting, Missing, PortRoute, Route, Table, Unasked, Wheels

ONE, TWO = Endpoint(ip="127.81.0.1", port=8080), Endpoint(ip="127.81.0.2", port=8080)
CONFIG = Config(
    version=1,
    services={
        "default/web": Service(
            ports={
                80: Port(
                    cluster="default/web:80",
                    rules=(
                        Rule(
                            split="default/canary",
                            matches=(HttpMatch(path="/a"),),
                            backends=(
                                Backend(service="default/v1", cluster="default/v1:80", weight=3),
                                Backend(service="default/v2", cluster="default/v2:80", weight=1),
                                Backend(service="default/v3", cluster="default/v3:80", weight=0),
                            ),
                        ),
                    ),
                ),
                8080: Port(cluster="default/web:8080"),
            },
            cluster_ip="10.0.0.1",
        ),
        "other/web": Service(ports={80: Port(cluster="default/v2:80")}),
    },
    clusters={
        "default/web:80": Cluster(endpoints=(ONE, TWO)),
        "default/web:8080": Cluster(),
        "default/v1:80": Cluster(endpoints=(ONE,)),
        "default/v2:80": Cluster(),
        "default/v3:80": Cluster(endpoints=(TWO,)),
        "pod:127.80.0.1:8080": Cluster(endpoints=(ONE,)),
    },
    hosts={
        "web-0.web.default": Host(pod={8080: "pod:127.80.0.1:8080"}),
        "127.80.0.1": Host(pod={8080: "pod:127.80.0.1:8080"}),
        "alias.default": Host(service="other/web"),
        "nowhere.default": Host(),
    },
)


RETRIED = replace(
    CONFIG,
    services={
        **CONFIG.services,
        "default/web": replace(CONFIG.services["default/web"], policy=Policy(retry=Retry(statuses=((500, 599),)))),
    },
)


def lasting() -> Lasting:
    return Lasting("default/client-0", lambda: 0.0)


def build(config: Config = CONFIG) -> Table:
    return Table(config, lasting(), "spiffe://x/ns/default/sa/c")


def route(authority: bytes, table: Table | None = None, default_port: int = 80) -> Route:
    return (table or build()).route(authority, default_port, "default", "cluster.local")


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        (b"web", "default/web:80"),
        (b"web:80", "default/web:80"),
        (b"web:", "default/web:80"),
        (b"web:8080", "default/web:8080"),
        (b"WEB.Default", "default/web:80"),
        (b"web.default.svc", "default/web:80"),
        (b"web.default.svc.cluster.local.", "default/web:80"),
        (b"web.default..svc.cluster.local:8080", "default/web:8080"),
        (b"web.other", "other/web:80"),
        (b"10.0.0.1", "default/web:80"),
        (b"alias", "other/web:80"),
        (b"web-0.web.default:8080", "web-0.web.default:8080"),
        (b"127.80.0.1:8080", "127.80.0.1:8080"),
    ],
)
def test_names_of_the_mesh(authority: bytes, name: str) -> None:
    found = route(authority)

    assert isinstance(found, PortRoute)
    assert found.name == name


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (b"web:81", Missing("web.default", 81, known=True)),
        (b"127.80.0.1", Missing("127.80.0.1", 80, known=True)),
        (b"nowhere", Missing("nowhere.default", 80, known=False)),
        (b"api", Unasked("api.default", 80)),
        (b"example.com:443", Unasked("example.com", 443)),
        (b"10.0.0.2", Unasked("10.0.0.2", 80)),
    ],
)
def test_names_without_a_route(authority: bytes, expected: Route) -> None:
    assert route(authority) == expected


def test_a_route_is_remembered_by_how_it_was_written_and_by_default_port() -> None:
    table = build()

    assert route(b"web", table) is route(b"web", table)
    assert route(b"web", table, 8080) is not route(b"web", table)


def test_clients_cannot_fill_the_memory_of_authorities() -> None:
    table = build()
    for number in range(3000):
        route(b"web" + b"." * number, table)

    assert len(table._by_authority) <= 1024


def test_a_rule_knows_which_backends_take_turns() -> None:
    found = route(b"web")
    assert isinstance(found, PortRoute)
    [rule] = found.rules

    assert [backend.name for backend in rule.backends] == ["default/v1", "default/v2", "default/v3"]
    assert rule.ready == (0,)  # v2 has no endpoint, v3 no weight
    assert found.looks_at_path
    assert [state.endpoint for state in found.own.endpoints] == [ONE, TWO]


@pytest.mark.parametrize(
    "config",
    [
        Config(services={"a/b": Service(ports={80: Port(cluster="a/b:80")})}),
        Config(hosts={"x.a": Host(pod={80: "pod:1.2.3.4:80"})}),
        Config(
            services={
                "a/b": Service(
                    ports={
                        80: Port(
                            cluster="c",
                            rules=(Rule(split="a/s", backends=(Backend(service="a/x", cluster="gone", weight=1),)),),
                        )
                    }
                )
            },
            clusters={"c": Cluster()},
        ),
        Config(
            services={
                "a/b": Service(ports={80: Port(cluster="c", rules=(Rule(split="s", matches=(HttpMatch(path="("),)),))})
            },
            clusters={"c": Cluster()},
        ),
    ],
)
def test_a_table_that_refers_to_what_it_has_not_is_rejected(config: Config) -> None:
    with pytest.raises(ConfigRejected):
        build(config)


def test_endpoints_wheels_and_budgets_outlive_a_table() -> None:
    beside = lasting()
    first = Table(RETRIED, beside, "x")
    beside.keep(first)
    second = Table(RETRIED, beside, "x")
    one, other = route(b"web", first), route(b"web", second)

    assert isinstance(one, PortRoute)
    assert isinstance(other, PortRoute)
    assert one.own.endpoints[0] is other.own.endpoints[0]
    assert one.rules[0].wheel is other.rules[0].wheel
    assert one.policy is not None
    assert other.policy is not None
    assert one.policy.budget is other.policy.budget


def test_a_table_that_is_rejected_changes_nothing_that_lasts() -> None:
    beside = lasting()
    before = Table(RETRIED, beside, "x")
    beside.keep(before)
    one = route(b"web", before)
    assert isinstance(one, PortRoute)
    assert one.policy is not None
    assert one.policy.budget is not None
    left = one.policy.budget.left(0.0)

    service = RETRIED.services["default/web"]
    [rule, *others] = service.ports[80].rules
    other = replace(rule, backends=tuple(replace(one, weight=one.weight + 1) for one in rule.backends))
    bad = replace(
        service,
        policy=Policy(retry=Retry(budget_min=0.0, budget_ratio=0.0)),
        ports={80: replace(service.ports[80], rules=(other, *others)), 81: Port(cluster="missing")},
    )
    with pytest.raises(ConfigRejected):
        Table(replace(RETRIED, services={**RETRIED.services, "default/web": bad}), beside, "x")

    assert one.policy.budget.left(0.0) == left
    again = route(b"web", Table(RETRIED, beside, "x"))
    assert isinstance(again, PortRoute)
    assert again.rules[0].wheel is one.rules[0].wheel


def test_what_no_table_refers_to_is_forgotten() -> None:
    beside = lasting()
    first = Table(RETRIED, beside, "x")
    beside.keep(first)
    one = route(b"web", first)
    beside.keep(Table(Config(), beside, "x"))
    other = route(b"web", Table(RETRIED, beside, "x"))

    assert isinstance(one, PortRoute)
    assert isinstance(other, PortRoute)
    assert one.own.endpoints[0] is not other.own.endpoints[0]
    assert one.rules[0].wheel is not other.rules[0].wheel
    assert one.policy is not None
    assert other.policy is not None
    assert one.policy.budget is not other.policy.budget


def test_a_backend_without_a_word_of_its_own_is_balanced_as_its_root_says() -> None:
    root, own = Breaker(consecutive_failures=3), Breaker(consecutive_failures=9)
    clusters = {
        **CONFIG.clusters,
        "default/web:80": Cluster(balance=Balance(algorithm="hash", header="x-user"), breaker=root),
        "default/v2:80": Cluster(balance=Balance(), breaker=own),
    }
    found = route(b"web", build(replace(CONFIG, clusters=clusters)))

    assert isinstance(found, PortRoute)
    silent, spoken = found.rules[0].backends[:2]
    assert (silent.balancer.header, silent.breaker) == ("x-user", root)
    assert (spoken.balancer.header, spoken.breaker) == ("", own)


def test_a_wheel_starts_anew_when_its_weights_change_and_is_forgotten_when_unused() -> None:
    wheels = Wheels("seed")
    rule = Rule(split="a/s", backends=(Backend(service="a/x", cluster="x", weight=1),))
    wheel = wheels.get("a/b:80", rule)
    assert wheels.get("a/b:80", rule) is not wheel, "nobody has put it in force"

    wheels.keep({("a/b:80", "a/s"): wheel})
    assert wheels.get("a/b:80", rule) is wheel
    assert wheels.get("a/b:81", rule) is not wheel
    other = Rule(split="a/s", backends=(Backend(service="a/x", cluster="x", weight=2),))
    assert wheels.get("a/b:80", other) is not wheel
    assert wheels.get("a/b:80", rule) is wheel
    wheels.keep({})
    assert wheels.get("a/b:80", rule) is not wheel


def test_what_a_table_refers_to() -> None:
    table = build()

    assert list(table.wheels()) == [("default/web:80", "default/canary")]


HEADLESS = replace(
    CONFIG,
    hosts={
        **CONFIG.hosts,
        "127.80.0.1": Host(pod={8080: "pod:127.80.0.1:8080"}, headless={8080: ("default/web:80",)}),
    },
)


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        (b"web", "default/web:80"),
        (b"web:8080", "default/web:80"),
        (b"WEB.default.svc.cluster.local.:8080", "default/web:80"),
        (b"web.default.svc", "default/web:80"),
        (b"web:80", "127.80.0.1:8080"),
        (b"web.other", "127.80.0.1:8080"),
        (b"web-0.web", "127.80.0.1:8080"),
        (b"127.80.0.1:8080", "127.80.0.1:8080"),
        (b"example.org", "127.80.0.1:8080"),
        (b"", "127.80.0.1:8080"),
    ],
)
def test_at_a_pods_address_a_host_counts_that_names_its_headless_service(authority: bytes, name: str) -> None:
    """The port is the connection's: 8080 is what the Service's 80 leads to, and not the Service's own 8080."""
    table = Table(HEADLESS, lasting(), "")
    pod = table.route(b"127.80.0.1:8080", 80, "default", "cluster.local")
    assert isinstance(pod, PortRoute)
    assert table.meant(pod, authority, "default", "cluster.local").name == name


def test_a_headless_service_that_is_not_there_makes_no_table() -> None:
    hosts = {"127.80.0.1": Host(pod={8080: "pod:127.80.0.1:8080"}, headless={8080: ("default/none:80",)})}
    with pytest.raises(ConfigRejected, match="port 80 of service default/none"):
        Table(replace(CONFIG, hosts=hosts), lasting(), "")


def refused(*weights: int) -> str:
    """What is said on a port on which the split has backends of these weights left, each with an endpoint."""
    backends = tuple(Backend(service="default/v1", cluster="default/v1:80", weight=weight) for weight in weights)
    port = Port(cluster="default/web:80", rules=(Rule(split="default/canary", backends=backends),))
    config = replace(CONFIG, services={"default/web": Service(ports={80: port})}, hosts={})
    route = Table(config, lasting(), "x").route(b"web", 80, "default", "cluster.local")
    assert isinstance(route, PortRoute)
    return str(route.rules[0].unready())


def test_what_is_said_of_a_split_without_a_backend_is_true_where_backends_merely_lack_the_port() -> None:
    """The config has those alone that exist with the port: of others' weights nothing can be said."""
    assert refused(0, 0) == (
        "503 weights-zero: no backend of TrafficSplit default/canary that exists with this port has a weight above 0"
    )
    assert refused() == "503 no-service: no backend of TrafficSplit default/canary exists with this port"
