"""Who asks the aggregated API, and what they may: the kube-apiserver vouches for the one and is asked for the other.

Belongs here: ``frontproxy`` (authentication), ``access`` (authorization). Does not belong: what is answered
(``translator.metricsapi``).
"""
