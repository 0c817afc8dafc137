"""``smi policy suggest``."""

from __future__ import annotations

import click

from smi.yamltext import to_yaml
from translator.cli.params import mesh_option, namespace_option
from translator.local.audited import audits
from translator.local.errors import LocalError
from translator.local.records import PodRecord, decode_pods
from translator.local.sidecar import TRUST_DOMAIN
from translator.local.state import read_state, running_state
from translator.suggest import Observed
from translator.suggest import suggest as suggested


@click.command(
    epilog="Seen is what went to pods in audit mode (smi-mesh.io/policy-mode: audit) since their sidecars started.",
    short_help="Print TrafficTargets that would allow the traffic seen.",
)
@click.argument("workload", metavar="[deploy/NAME]", default="")
@namespace_option
@mesh_option
def suggest(workload: str, namespace: str, mesh: str) -> None:
    """Print the TrafficTargets that would allow the traffic seen, as YAML.

    With the routes they refer to, and no more than was seen: caller, port, methods, paths. Read them before
    they are applied: what should not have been there is in them too.

    \b
      smi policy suggest > targets.yaml           then smi-mesh.io/policy-mode: enforce
      smi policy suggest -n shop deploy/web | kubectl apply -f -
    """
    state = running_state(mesh)
    records = decode_pods(read_state(state, state.pods))
    chosen = [record for record in records if _is_meant(record, namespace, workload)]
    if not chosen:
        raise LocalError(f"no pod of {workload or 'any workload'} in namespace {namespace}")
    answers = audits(chosen)
    for record, audit in answers:
        if audit is None:
            click.echo(f"the sidecar of {record.key} does not say what it has seen", err=True)
    observed = [Observed(pod=record.pod, audit=audit) for record, audit in answers if audit is not None]
    made = suggested([record.pod for record in records], observed, TRUST_DOMAIN)
    if not made.requests:
        raise LocalError(
            "nothing was seen: requests are remembered where the annotation smi-mesh.io/policy-mode: audit "
            "stands on the pod or its namespace"
        )
    click.echo(f"# {made.requests} requests seen by {len(observed)} sidecars; policy would refuse {made.denied} now.")
    for remark in made.remarks:
        click.echo(f"# {remark}.")
    if made.objects:
        click.echo(to_yaml(made.objects), nl=False)


def _is_meant(record: PodRecord, namespace: str, workload: str) -> bool:
    kind, _, name = workload.rpartition("/")
    if record.pod.meta.namespace != namespace or kind not in ("", "deploy", "deployment", "sts", "statefulset", "pod"):
        return False
    return not name or name in (record.pod.workload, record.pod.meta.name)
