"""Who is compared, and that all do the same work.

Belongs here: the configurations of our sidecar (``ours``), Envoy (``envoy``), HAProxy and nginx (``others``), a proxy
as one would write it with aiohttp (``naive``), certificates for all of them (``identities``), and how one is started
(``processes``, ``contenders``). Does not belong: measuring.
"""
