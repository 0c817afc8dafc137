"""Waiting for something to become true, without guessing how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - it polls, nothing is cancelled
    """Returns when ``condition()`` is true; after ``timeout`` seconds fails with its name."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout} s: {getattr(condition, '__qualname__', condition)}")
        await asyncio.sleep(0.005)
