#!/usr/bin/env python3
"""Holds the chart against helm, the API's schemas, promtool, `corelane check` and a proxy that runs: `check.py HELM CORELANE`.

No cluster is needed, and none is asked: what a cluster would do with the manifests is not shown here.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

from refused import REFUSED

HERE = pathlib.Path(__file__).parent
CHART = HERE / "corelane"
VERSIONS = ["1.30", "1.34"]
# Of the Prometheus operator: no schema of the API server's. promtool knows what is in the rules.
CUSTOM = {"PodMonitor", "PrometheusRule"}


def run(*command, ok=True):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if (done.returncode == 0) != ok:
        sys.exit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if not ok else "")


def rendered(helm, values):
    options = [part for value in values for part in ("--values", value)]
    text = run(helm, "template", "web", CHART, "--namespace", "edge", *options)
    return [document for document in yaml.safe_load_all(text) if document]


def check_api(documents):
    for document in documents:
        if document["kind"] in CUSTOM:
            assert document["apiVersion"] == "monitoring.coreos.com/v1", document
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)


def check_rules(documents, folder):
    for index, document in enumerate(documents):
        if document["kind"] == "PrometheusRule":
            path = folder / f"rules-{index}.yaml"
            path.write_text(yaml.safe_dump(document["spec"]))
            run("promtool", "check", "rules", path)


def workload_of(documents):
    (workload,) = [one for one in documents if one["kind"] in ("Deployment", "DaemonSet")]
    return workload


def write_configuration(documents, folder):
    """As the kubelet mounts it: links to a folder that it swaps. Of the paths that the pod has only `/run` is another."""
    maps = [one["data"] for one in documents if one["kind"] == "ConfigMap" and "corelane.toml" in one["data"]]
    (data,) = maps
    (folder / "..1").mkdir()
    (folder / "..data").symlink_to("..1")
    for name, text in data.items():
        (folder / "..1" / name).write_text(text.replace("/run/corelane/", f"{folder}/"))
        (folder / name).symlink_to(f"..data/{name}")
    return folder / "corelane.toml"


def check_ready(documents, corelane, configuration):
    """In a network of its own, with IPv4 alone, as a pod has it."""
    pod = workload_of(documents)["spec"]["template"]["spec"]
    # What this machine has, not what the check is for.
    text = configuration.read_text().replace('scheduler = "glommio"', 'scheduler = "auto"')
    configuration.unlink()
    configuration.write_text(text)
    run("unshare", "--map-root-user", "--net", sys.executable, HERE / "pod.py", json.dumps(pod), corelane, configuration)


def check_pod(documents):
    workload = workload_of(documents)
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in named
    for service in (one for one in documents if one["kind"] == "Service"):
        assert all(port["targetPort"] in named for port in service["spec"]["ports"])
    labels = workload["spec"]["template"]["metadata"]["labels"]
    for one in documents:
        selector = one.get("spec", {}).get("selector") or one.get("spec", {}).get("podSelector")
        if selector:
            assert (selector.get("matchLabels") or selector).items() <= labels.items(), one
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    # Of no seconds, it is refused before Kubernetes 1.33.
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 1})
    assert sleep["seconds"] > 0, sleep
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]


def check_policy(documents, admin_from):
    """Nobody is a rule less: one without `from` lets everybody in."""
    for policy in (one for one in documents if one["kind"] == "NetworkPolicy"):
        rules = [rule for rule in policy["spec"]["ingress"] if any(port["port"] == "admin" for port in rule["ports"])]
        assert [rule.get("from") for rule in rules] == ([admin_from] if admin_from else []), policy


def check_notes(helm, folder):
    """`helm template` doesn't show them, so that a template of a copy does."""
    chart = shutil.copytree(CHART, folder / "corelane")
    (chart / "templates" / "shown.yaml").write_text('shown: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}\n')
    for network, warned in {"true": True, "false": False}.items():
        options = ["--set", f"networkPolicy.enabled=true,hostNetwork={network}", "--show-only", "templates/shown.yaml"]
        notes = yaml.safe_load(run(helm, "template", "web", chart, *options))["shown"]
        assert ("The NetworkPolicy may do nothing here" in notes) == warned, notes


def example(folder):
    """The configuration that values.yaml shows in comments, as values."""
    _, _, after = (CHART / "values.yaml").read_text().partition("\nconfig: {}\n")
    comment, _, _ = after.partition("\n\n")
    lines = [line.removeprefix("  #").removeprefix(" ") for line in comment.splitlines()]
    path = folder / "example.yaml"
    path.write_text(yaml.safe_dump({"config": yaml.safe_load("\n".join(lines))}))
    return path


def check_words():
    """What values.yaml says of metrics: they are those of the reference."""
    known = (HERE.parents[1] / "docs" / "metrics.md").read_text()
    for name in re.findall(r"\bcorelane_\w+", (CHART / "values.yaml").read_text()):
        # One that prometheus-adapter makes (docs/fleet.md).
        assert f"`{name}`" in known or name == "corelane_core_utilization", name


def check_refused(helm, folder):
    wrong = folder / "wrong.yaml"
    for text, why in REFUSED.items():
        wrong.write_text(text)
        said = run(helm, "template", "web", CHART, "--values", wrong, ok=False)
        assert why in said, f"{text}\n{said}"


def check_case(helm, corelane, values):
    documents = rendered(helm, values)
    check_api(documents)
    check_pod(documents)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        check_rules(documents, folder)
        (folder / "etc").mkdir()
        configuration = write_configuration(documents, folder / "etc")
        run(corelane, "check", configuration)
        check_ready(documents, corelane, configuration)
    given = yaml.safe_load(values[0].read_text()) if values else {}
    check_policy(documents, given.get("networkPolicy", {}).get("adminFrom"))
    for document in documents:
        if document["kind"] == "ConfigMap" and "corelane.toml" not in document["data"]:
            (text,) = document["data"].values()
            assert json.loads(text)["panels"], document["metadata"]["name"]
    return {document["kind"] for document in documents}


def main(helm, corelane):
    run(helm, "lint", "--strict", CHART)
    check_words()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        check_notes(helm, folder)
        check_refused(helm, folder)
        cases = [[], [example(folder)], *([path] for path in sorted((CHART / "ci").glob("*.yaml")))]
        kinds = set().union(*(check_case(helm, corelane, values) for values in cases))
    wanted = {"ConfigMap", "Deployment", "DaemonSet", "Service", "ServiceAccount", "Role", "RoleBinding"}
    wanted |= {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"} | CUSTOM
    assert kinds == wanted, kinds ^ wanted
    print(f"the chart is good: {len(cases)} sets of values, {len(kinds)} kinds; {len(REFUSED)} sets are refused")


if __name__ == "__main__":
    os.environ["HELM_CACHE_HOME"] = os.environ["HELM_CONFIG_HOME"] = os.environ["HELM_DATA_HOME"] = tempfile.gettempdir()
    main(*sys.argv[1:])
