"""How the controller on Kubernetes was started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from translator.kube.admission.settings import Injected
from translator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``mesh`` holds for all sidecars, ``injected`` for pods that get one; the rest is about this process."""

    mesh: Settings = field(default_factory=Settings)
    injected: Injected = field(default_factory=Injected)

    namespace: str = "smi-mesh"
    """Where the mesh's own objects are."""

    pod: str = ""
    """Which of several controllers this is."""

    folder: Path = Path("/run/smi-mesh")
    """A tmpfs: the CA's files, and what is in force of them."""

    control_port: int = 8443
    """Enrolment and control streams of sidecars, mTLS."""

    webhook_port: int = 9443
    """Admission, HTTPS."""

    metrics_port: int = 9444
    """The aggregated API, HTTPS."""

    admin_port: int = 8080
    """Health and metrics."""

    hpa_metrics: bool = False
    """Whether the groups that a HorizontalPodAutoscaler reads are served, too."""

    spec_exact_discovery: bool = False
    """TrafficMetrics: every resource has the same Kind, as SMI's text has it, though kubectl then mixes them up."""

    prometheus: str = ""
    """TrafficMetrics: the address of the Prometheus that has the counts; empty: the controller's memory."""

    report_seconds: float = 5.0
    """Sidecars report what they counted this often at least: a thousand cost the controller a tenth of a core."""
