#!/usr/bin/env python3
"""Runs the proxy as the pod would, and asks as the kubelet does: `pod.py POD CORELANE CONFIGURATION`, in a network of its own.

POD is the pod's `spec` as JSON. There is IPv4 alone, the sysctls are the pod's, and the process has no capabilities.
"""
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

SECONDS_MAX = 20


def prepare(pod):
    ipv6 = pathlib.Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for sysctl in pod["securityContext"].get("sysctls", []):
        pathlib.Path("/proc/sys", sysctl["name"].replace(".", "/")).write_text(sysctl["value"])


def is_ready(address):
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until_ready(process, address):
    end = time.monotonic() + SECONDS_MAX
    while not is_ready(address):
        assert process.poll() is None, "the proxy ended"
        assert time.monotonic() < end, f"{address}: not ready for {SECONDS_MAX} s"
        time.sleep(0.05)


def main(pod, corelane, configuration):
    pod = json.loads(pod)
    prepare(pod)
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    bare = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    process = subprocess.Popen([*bare, corelane, "run", configuration])
    try:
        for probe in ("readinessProbe", "livenessProbe"):
            get = container[probe]["httpGet"]
            wait_until_ready(process, f"http://127.0.0.1:{ports[get['port']]}{get['path']}")
        for name, port in ports.items():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError as error:
                sys.exit(f"port {name}, {port}: {error}")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
