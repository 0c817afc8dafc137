"""What a HorizontalPodAutoscaler reads: the groups ``custom.metrics.k8s.io`` and ``external.metrics.k8s.io``.

Belongs here: what there is (``groups``), what is asked (``wanted``), the numbers (``measured``) and what they look like
(``bodies``), all pure, and their HTTP (``server``). Does not belong: counting, and who may ask; both are those of
TrafficMetrics (``translator.metricsapi.server``).
"""
