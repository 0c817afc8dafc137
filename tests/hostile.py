"""Random hostility, seeded: SMI_MESH_FUZZ=100000 makes that many rounds, a failure tells its seed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

ROUNDS = int(os.environ.get("SMI_MESH_FUZZ", "400"))
AT_ONCE = 8


def cut(data: bytes, dice: random.Random) -> list[bytes]:
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 1, 4))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def scratched(data: bytes, dice: random.Random) -> bytes:
    """``data`` with an octet or two changed, taken away or put in."""
    octets = bytearray(data)
    for _ in range(dice.choice((1, 1, 2))):
        place = dice.randrange(len(octets))
        new = bytes((dice.choice((0, 9, 10, 13, 32, 35, 37, 44, 46, 47, 58, 59, 92, 127, 255, dice.randrange(256))),))
        octets[place : place + dice.choice((0, 1))] = dice.choice((new, new, b""))
    return bytes(octets)


async def in_turns(rounds: int, one: Callable[[random.Random], Awaitable[None]]) -> None:
    """``rounds`` of them, some at once; the seed of one that fails is told."""

    async def lane(numbers: range) -> None:
        for seed in numbers:
            try:
                await one(random.Random(seed))
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

    async with asyncio.TaskGroup() as group:
        for offset in range(AT_ONCE):
            group.create_task(lane(range(offset, rounds, AT_ONCE)))
