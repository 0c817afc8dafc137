"""``python -m translator.kube``: the controller of a mesh on Kubernetes."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Final, get_args

import uvloop

from proxy.contract.config import DefaultPolicy
from smi.sources.apiserver import ApiError, ApiServer, NoCluster, by_kubeconfig, in_pod
from translator.identity.authority import AuthorityError
from translator.kube.admission.settings import Injected
from translator.kube.controller import run
from translator.kube.install import BACKENDS
from translator.kube.settings import Options
from translator.metricsapi.prometheus.client import checked
from translator.settings import Settings
from translator.vocabulary import LOG_LEVEL, OPAQUE_PORTS

PROMETHEUS: Final = "prometheus"


def main(arguments: list[str] | None = None) -> int:
    """Runs the controller; 1 when it cannot start."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.metrics_backend == PROMETHEUS and not given.prometheus_url:
        parser.error(f"--metrics-backend={PROMETHEUS} needs --prometheus-url too, the address of that Prometheus")
    logging.basicConfig(
        stream=sys.stdout, level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(given))
    except (OSError, ApiError, AuthorityError, NoCluster) as error:
        print(f"the controller cannot run: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(given: argparse.Namespace) -> None:
    access = await by_kubeconfig(given.kubeconfig) if given.kubeconfig else in_pod()
    options = Options(
        mesh=Settings(
            trust_domain=given.trust_domain,
            cluster_domain=given.cluster_domain,
            default_policy=given.default_policy,
            opaque_ports=OPAQUE_PORTS.default,
            mtls=not given.disable_mtls,
        ),
        injected=Injected(
            image=given.image,
            pull_policy=given.image_pull_policy,
            namespace=given.namespace,
            trust_domain=given.trust_domain,
            cluster_domain=given.cluster_domain,
            log_level=given.proxy_log_level,
        ),
        namespace=given.namespace,
        pod=os.environ.get("POD_NAME", "") or socket.gethostname(),
        folder=given.folder,
        hpa_metrics=given.hpa_metrics,
        spec_exact_discovery=given.spec_exact_discovery,
        prometheus=given.prometheus_url if given.metrics_backend == PROMETHEUS else "",
        report_seconds=given.report_seconds,
    )
    async with ApiServer(access) as api:
        await run(api, options)


def _parser() -> argparse.ArgumentParser:
    mesh, own = Settings(), Options()
    parser = argparse.ArgumentParser(
        prog="python -m translator.kube", description="The controller of a mesh on Kubernetes."
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="the cluster to use (default: the one this pod runs in)")
    parser.add_argument(
        "--namespace",
        default=os.environ.get("POD_NAMESPACE", own.namespace),
        help="the namespace that the mesh is installed in (%(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, default=own.folder, help=f"where keys are kept, on a tmpfs ({own.folder})"
    )
    parser.add_argument(
        "--trust-domain", default=mesh.trust_domain, help="the trust domain of all identities (%(default)s)"
    )
    parser.add_argument(
        "--cluster-domain", default=mesh.cluster_domain, help="what the names of all Services end with (%(default)s)"
    )
    parser.add_argument(
        "--default-policy",
        choices=get_args(DefaultPolicy),
        default=mesh.default_policy,
        help="who may call a pod that no TrafficTarget names (%(default)s)",
    )
    parser.add_argument(
        "--disable-mtls", action="store_true", help="sidecars speak in the clear; nobody has an identity"
    )
    parser.add_argument(
        "--report-seconds",
        type=float,
        choices=(1.0, 2.0, 5.0),
        default=own.report_seconds,
        help="how often sidecars report what they counted (%(default)s)",
    )
    parser.add_argument("--hpa-metrics", action="store_true", help="serve what a HorizontalPodAutoscaler reads, too")
    parser.add_argument(
        "--spec-exact-discovery",
        action="store_true",
        help="TrafficMetrics: every resource has that Kind, as SMI's text has it; kubectl then mixes them up",
    )
    parser.add_argument(
        "--metrics-backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="where the counts of TrafficMetrics are from: what sidecars report (%(default)s), or a Prometheus",
    )
    parser.add_argument(
        "--prometheus-url",
        type=_address,
        default="",
        metavar="URL",
        help="the address of that Prometheus, http:// or https://",
    )
    _of_sidecars(parser)
    parser.add_argument(
        "--log-level", default="info", choices=LOG_LEVEL.values, help="what the controller logs (%(default)s)"
    )
    return parser


def _of_sidecars(parser: argparse.ArgumentParser) -> None:
    injected = Injected()
    parser.add_argument("--image", default=injected.image, help="the image of sidecars (%(default)s)")
    parser.add_argument(
        "--image-pull-policy",
        default=injected.pull_policy,
        choices=("Always", "IfNotPresent", "Never"),
        help="when nodes pull it (%(default)s)",
    )
    parser.add_argument(
        "--proxy-log-level",
        default=injected.log_level,
        choices=LOG_LEVEL.values,
        help="what sidecars log (%(default)s)",
    )


def _address(text: str) -> str:
    try:
        return checked(text) if text else ""
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
