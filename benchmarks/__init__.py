"""Measurements: what the mesh costs, side by side with others (``make bench``), and what it does when it is hurt.

Belongs here: everything whose result is a time, a size or a rate; never a test. Does not belong: what a test needs.
``python -m benchmarks`` is the comparison: ``peers`` are the contenders, ``gauges``, ``saturation``, ``latency``,
``handshakes`` and ``memory`` measure, ``estimate``, ``goals``, ``report``, ``chart`` and ``document`` say what came of
it. ``faults``, ``amplification``, ``rotation`` and ``counting`` stand alone; ``README.md`` tells how to run them.
"""
