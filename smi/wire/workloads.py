"""Deployment, StatefulSet and Pod: all become a ``Workload``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from smi.meta import Meta
from smi.names import shown
from smi.wire.base import Name, Wire, refuse
from smi.wire.containers import Volume, WireContainer
from smi.wire.metadata import Labels, Object
from smi.workloads import Container, Workload


class PodSpec(Wire):
    """``spec`` of a pod or of a template. ``serviceAccount`` is the old spelling of ``serviceAccountName``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "activeDeadlineSeconds",
            "affinity",
            "automountServiceAccountToken",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "ephemeralContainers",
            "hostAliases",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "hostUsers",
            "hostname",
            "hostnameOverride",
            "imagePullSecrets",
            "initContainers",
            "nodeName",
            "nodeSelector",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "readinessGates",
            "resourceClaims",
            "resources",
            "restartPolicy",
            "runtimeClassName",
            "schedulerName",
            "schedulingGates",
            "securityContext",
            "setHostnameAsFQDN",
            "shareProcessNamespace",
            "subdomain",
            "terminationGracePeriodSeconds",
            "tolerations",
            "topologySpreadConstraints",
        }
    )
    containers: Annotated[list[WireContainer], Field(min_length=1)]
    service_account_name: Name | None = None
    service_account: str = ""
    volumes: list[Volume] = Field(default_factory=list)

    def account(self) -> str:
        """The name of the ServiceAccount."""
        return self.service_account_name or self.service_account or "default"

    def hub_containers(self) -> tuple[Container, ...]:
        """The hub's containers."""
        volumes = {volume.name: volume.config_map for volume in self.volumes if volume.config_map is not None}
        return tuple(container.to_hub(volumes) for container in self.containers)


class Template(Wire):
    """``template``."""

    spelling_by_hand: ClassVar[bool] = True
    metadata: Labels = Field(default_factory=Labels)
    spec: PodSpec


class PodSelector(Wire):
    """``selector``; whether its ``matchExpressions`` hold is not looked at."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"matchExpressions"})
    match_labels: dict[str, str] = Field(default_factory=dict)


class ReplicatedSpec(Wire):
    """``spec`` of a Deployment or StatefulSet."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "minReadySeconds",
            "ordinals",
            "paused",
            "persistentVolumeClaimRetentionPolicy",
            "podManagementPolicy",
            "progressDeadlineSeconds",
            "revisionHistoryLimit",
            "rollbackTo",
            "strategy",
            "updateStrategy",
            "volumeClaimTemplates",
        }
    )
    selector: PodSelector = Field(default_factory=PodSelector)
    replicas: Annotated[int, Field(ge=0)] = 1
    service_name: str = ""
    template: Template


class Replicated(Object):
    """Deployment and StatefulSet at every version."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"status"})
    spec: ReplicatedSpec

    def to_hub(self) -> Workload:
        """The hub's object, its ``folder`` still empty.

        Raises:
            WireError: its selector is not for its own pods, which Kubernetes refuses.
        """
        meta = self.metadata.to_meta()
        template = self.spec.template
        for name, value in self.spec.selector.match_labels.items():
            if template.metadata.labels.get(name) != value:
                refuse(
                    "spec",
                    "selector",
                    "matchLabels",
                    name,
                    message=f"{shown(value)} is not what the template's pods have",
                )
        return Workload(
            kind=self.kind,
            meta=meta,
            template=Meta(
                name=meta.name,
                namespace=meta.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
            ),
            replicas=self.spec.replicas,
            service_account=template.spec.account(),
            containers=template.spec.hub_containers(),
            service_name=self.spec.service_name,
        )


class WirePod(Object):
    """Pod: a workload of one, its own template."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"status"})
    spec: PodSpec

    def to_hub(self) -> Workload:
        """The hub's object, its ``folder`` still empty."""
        meta = self.metadata.to_meta()
        return Workload(
            kind="Pod",
            meta=meta,
            template=replace(meta, created=None, generation=0),
            service_account=self.spec.account(),
            containers=self.spec.hub_containers(),
        )
