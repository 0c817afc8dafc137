"""What the kernel counts for processes: CPU time, memory, system calls, instructions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SYSCALLS = "raw_syscalls:sys_enter"
INSTRUCTIONS = "instructions"


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU: ``total`` as the scheduler counts them, to the nanosecond; ``user`` and ``system`` in ticks."""

    total: float
    user: float
    system: float

    def __sub__(self, before: Cpu) -> Cpu:
        return Cpu(self.total - before.total, self.user - before.user, self.system - before.system)


def cpu(pids: Sequence[int]) -> Cpu:
    """Of all threads of all these processes so far. Without schedstat in the kernel ``total`` is in ticks, too."""
    user = system = total = 0.0
    tick = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11]) / tick
        system += int(fields[12]) / tick
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(thread.read_text().split()[0]) / 1e9
    return Cpu(total or user + system, user, system)


def pss(pid: int) -> float:
    """Proportional set size in MB (10^6 bytes): pages that others map as well count in parts."""
    return _rolled_up(pid, "Pss")


def private_dirty(pid: int) -> float:
    """MB (10^6 bytes) of the pages that a process has written to and shares with no other."""
    return _rolled_up(pid, "Private_Dirty")


def _rolled_up(pid: int, name: str) -> float:
    found = re.search(rf"^{name}: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("this kernel does not tell proportional set sizes")
    return int(found[1]) * 1024 / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """System calls and instructions of processes while a command ran; None what this machine cannot count."""

    syscalls: int | None
    instructions: int | None
    output: str


def counted(pids: Sequence[int], command: Sequence[str], folder: Path) -> Counted:
    """Runs ``command`` and counts what ``pids`` do meanwhile: by perf, else by strace (no instructions then)."""
    report, attached = folder / "counted", ",".join(map(str, pids))
    report.unlink(missing_ok=True)
    if shutil.which("perf"):
        perf = ["perf", "stat", "-x", ";", "-o", str(report), "-p", attached, "-e", SYSCALLS, "-e", INSTRUCTIONS, "--"]
        done = subprocess.run([*perf, *command], capture_output=True, text=True, check=False)
        counts = read_perf(report.read_text()) if report.is_file() else {}
        if done.returncode == 0 and SYSCALLS in counts:
            return Counted(syscalls=counts[SYSCALLS], instructions=counts.get(INSTRUCTIONS), output=done.stdout)
    if shutil.which("strace"):
        strace = ["strace", "-c", "-f", "-o", str(report), *(word for pid in pids for word in ("-p", str(pid)))]
        with subprocess.Popen(strace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watching:
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            watching.terminate()
        return Counted(syscalls=read_strace(report.read_text()), instructions=None, output=output)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Counted(syscalls=None, instructions=None, output=output)


def read_perf(report: str) -> dict[str, int]:
    """Counts by event of ``perf stat -x ';'``; what could not be counted is not among them.

    perf appends to an event's name what it was narrowed to, ``instructions:u``.
    """
    counts: dict[str, int] = {}
    for line in report.splitlines():
        fields = line.split(";")
        if len(fields) > 2 and fields[0].isdigit():
            name = fields[2]
            counts[name if name == SYSCALLS else name.partition(":")[0]] = int(fields[0])
    return counts


def read_strace(report: str) -> int | None:
    """All calls of ``strace -c``; None where there is no total."""
    found = re.search(r"^100\.00 +\S+ +\S+ +(\d+)(?: +\d+)? +total$", report, re.MULTILINE)
    return int(found[1]) if found else None
