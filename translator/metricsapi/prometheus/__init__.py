"""TrafficMetrics out of a Prometheus that reads the sidecars, instead of what they reported to the controller.

Belongs here: what to ask for a request (``queries``), counts out of the answers (``answers``), both pure; asking over
HTTP (``client``), and the three put together (``backend``). Does not belong: rows, edges, who may see what; what comes
out is an ``Observed`` like any other, so ``translator.metricsapi.items`` and ``redact`` mean the same here.
"""
