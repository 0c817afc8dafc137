"""TrafficMetrics: the API group ``metrics.smi-spec.io``, as kubectl and SMI's tools read it.

Belongs here: what there is (``kinds``, ``discovery``, ``openapi``), what is asked (``asked``), the items (``items``)
and their tables (``tables``), all pure, and their HTTP (``server``). Does not belong: counting
(``translator.observed``), who may ask (whoever serves it gives that).
"""
