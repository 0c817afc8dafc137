"""The loggers of this room, named here and nowhere else. Only modules that do I/O import this."""

from __future__ import annotations

import logging

sources = logging.getLogger("smi.sources")
