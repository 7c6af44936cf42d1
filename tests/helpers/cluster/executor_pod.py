"""The pod that KFP makes of a task: the recorded one of a real backend, with what the IR says.

Left out: the init containers, and the owner, a Workflow. KFP's launcher is launch.py, from a
ConfigMap where the real one's volume is; Argo's container beside it waits likewise.
"""

import copy
import json
from typing import Any

from helpers.cluster.objects import IMAGE, PROJECT

Json = dict[str, Any]

_RECORDED = json.loads((PROJECT / "tests/kube/pods/kfp-executor.json").read_text())
_WAIT = "import os, time\nwhile not os.path.exists('/var/run/argo/done'): time.sleep(0.05)"
_KEPT = (
    "restartPolicy", "securityContext", "nodeSelector", "terminationGracePeriodSeconds",
    "enableServiceLinks", "dnsPolicy",
)  # fmt: skip
_REFERENCES = {  # of kfp-kubernetes' settings to Kubernetes' own
    "secretAsEnv": ("secretKeyRef", "secretName", "secretKey"),
    "configMapAsEnv": ("configMapKeyRef", "configMapName", "configMapKey"),
}


def executor_pod(
    executor: Json,
    settings: Json,
    given: Json,
    *,
    run_id: str,
    account: str,
    node: str,
    number: int,
) -> Json:
    """The pod.

    Args:
        executor, settings: of the IR, container and Kubernetes settings.
        given: the executor input.
        run_id, account: of the run.
        node: the Argo node's name, which begins with the Workflow's.
        number: of the Argo node.
    """
    recorded = copy.deepcopy(_RECORDED)
    workflow = node.partition("(")[0]
    by_name = {one["name"]: one for one in recorded["spec"]["containers"]}
    volumes = {one["name"]: one for one in recorded["spec"]["volumes"] if "emptyDir" in one}
    volumes["kfp-launcher"] = {"name": "kfp-launcher", "configMap": {"name": "launcher"}}
    main, waiter = by_name["main"], by_name["wait"]
    own = [entry for entry in main["env"] if entry["name"].startswith(("KFP_", "ARGO_"))]
    user = settings["securityContext"]
    main |= {
        "image": executor["image"],
        "command": ["python", "/kfp-launcher/launch", json.dumps(given)],
        "args": [*executor["command"], *executor["args"]],
        "env": [*_environment(executor, settings), *own],
        "resources": _resources(executor["resources"]),
        "securityContext": {
            **main["securityContext"],
            "runAsUser": int(user["runAsUser"]),
            "runAsNonRoot": user["runAsNonRoot"],
        },
    }
    waiter |= {"image": IMAGE, "command": ["python", "-S", "-c", _WAIT], "env": []}
    for container in (main, waiter):
        there = [mount for mount in container["volumeMounts"] if mount["name"] in volumes]
        container["volumeMounts"] = there
    for source in settings.get("configMapAsVolume", []):
        name, optional = source["configMapName"], source.get("optional", False)
        volumes[name] = {"name": name, "configMap": {"name": name, "optional": optional}}
        main["volumeMounts"].append({"name": name, "mountPath": source["mountPath"]})
    meta = recorded["metadata"]
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{workflow}-metadata-0-3-system-container-impl-{number}",
            "labels": {
                "pipeline/runid": run_id,
                "pipelines.kubeflow.org/v2_component": "true",
                "workflows.argoproj.io/workflow": workflow,
                **settings["podMetadata"]["labels"],
            },
            "annotations": {
                **meta["annotations"],
                "workflows.argoproj.io/node-id": f"{workflow}-{number}",
                "workflows.argoproj.io/node-name": node,
            },
        },
        "spec": {
            **{name: recorded["spec"][name] for name in _KEPT},
            "serviceAccountName": account,
            "activeDeadlineSeconds": int(settings["activeDeadlineSeconds"]),
            "containers": [waiter, main],
            "volumes": list(volumes.values()),
        },
    }


def _environment(executor: Json, settings: Json) -> list[Json]:
    made = list(executor["env"])
    for field in settings["fieldPathAsEnv"]:
        source: Json = {"fieldRef": {"fieldPath": field["fieldPath"]}}
        made.append({"name": field["name"], "valueFrom": source})
    for what, (kind, name, key) in _REFERENCES.items():
        for given in settings.get(what, []):
            for entry in given["keyToEnv"]:
                reference = {"name": given[name], "key": entry[key], "optional": given["optional"]}
                made.append({"name": entry["envVar"], "valueFrom": {kind: reference}})
    return made


def _resources(given: Json) -> Json:
    return {
        f"{kind.lower()}s": {
            what.lower(): given[f"resource{what}{kind}"] for what in ("Cpu", "Memory")
        }
        for kind in ("Limit", "Request")
    }
