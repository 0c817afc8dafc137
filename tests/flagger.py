"""The two queries by which Flagger's provider ``linkerd`` judges a canary, as it sends them."""

from __future__ import annotations

SUCCESS_RATE = """
sum(
    rate(
        response_total{
            namespace="NAMESPACE",
            deployment=~"TARGET",
            classification!="failure",
            direction="inbound"
        }[INTERVAL]
    )
)
/
sum(
    rate(
        response_total{
            namespace="NAMESPACE",
            deployment=~"TARGET",
            direction="inbound"
        }[INTERVAL]
    )
)
* 100
"""
"""In percent."""

DURATION = """
histogram_quantile(
    0.99,
    sum(
        rate(
            response_latency_ms_bucket{
                namespace="NAMESPACE",
                deployment=~"TARGET",
                direction="inbound"
            }[INTERVAL]
        )
    ) by (le)
)
"""
"""In milliseconds."""


def asked(query: str, namespace: str, target: str, interval: str = "1m") -> str:
    """A query with its places filled in."""
    return query.replace("NAMESPACE", namespace).replace("TARGET", target).replace("INTERVAL", interval)
