"""Verifies what a schema does not say of the rendered manifests: names, and the restricted profile."""

import base64
import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    RESOURCES = list(yaml.safe_load_all(file))


def named(kind):
    return {it["metadata"]["name"]: it for it in RESOURCES if it["kind"] == kind}


def pods():
    for name, it in named("CronJob").items():
        yield name, it["spec"]["jobTemplate"]["spec"]["template"]
    for name, it in named("Deployment").items():
        labels = it["spec"]["template"]["metadata"]["labels"]
        assert it["spec"]["selector"]["matchLabels"].items() <= labels.items(), name
        yield name, it["spec"]["template"]


def verify_pod(name, spec):
    account = name.rpartition("-")[2]
    [container] = spec["containers"]
    sources = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    secret = named("Secret")[sources[mounts["/config"]["name"]]["secret"]["secretName"]]
    assert mounts["/config"]["readOnly"]
    claim = sources[mounts["/data"]["name"]]["persistentVolumeClaim"]["claimName"]
    assert claim in named("PersistentVolumeClaim") and claim.endswith(f"-{account}"), claim

    # Each file that the command line and the configuration name is mounted.
    words = container["args"]
    folder, _, file = words[words.index("--config") + 1].rpartition("/")
    config = json.loads(base64.b64decode(secret["data"][file]))
    assert folder == "/config"
    for field in ("source_pass_file", "target_token_file"):
        assert config[field] in secret["data"], f"{name}: {field}"
    assert config["target_user"].startswith(account), name
    assert words[words.index("--state-file") + 1].rpartition("/")[0] == "/data"
    if "readinessProbe" in container:
        probe = container["readinessProbe"]["exec"]["command"]
        assert probe[:2] == ["imap-to-gmail-sync", "status"], probe
        assert probe[2:] == [word for word in words if word != "--watch"], probe

    # The `restricted` profile, which the namespace enforces.
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["image"].startswith("ghcr.io/"), "the account names its image"


assert RESOURCES[0]["kind"] == "Namespace"
NAMESPACE = RESOURCES[0]["metadata"]["name"]
assert all(it["metadata"]["namespace"] == NAMESPACE for it in RESOURCES[1:])
for pod_name, pod in pods():
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == pod_name.rpartition("-")[2]
    verify_pod(pod_name, pod["spec"])
print(*(f"{it['kind']} {it['metadata']['name']}" for it in RESOURCES), sep="\n")
