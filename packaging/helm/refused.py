"""Values that can't work, and what helm says of each: where, and what."""

NAME = "ports.0.name: Does not match pattern"

REFUSED = {
    # The drain has to fit.
    "termination: { drainSeconds: 80 }": "termination: sleepSeconds and drainSeconds have to be shorter than gracePeriodSeconds",
    "termination: { closeOverSeconds: 75 }": "termination: closeOverSeconds is the last part of drainSeconds",
    "termination: { sleepSeconds: -1 }": "termination.sleepSeconds: Must be greater than or equal to 0",
    # What runs.
    "kind: StatefulSet": 'kind must be one of the following: "Deployment", "DaemonSet"',
    "runtime: { scheduler: fifo }": "runtime.scheduler must be one of the following",
    "runtime: { cores: banana }": "runtime.cores: Does not match pattern '^(all|",
    "runtime: { cores: 0 }": "runtime.cores: Must be greater than or equal to 1",
    # Keys that nobody reads.
    "repliccas: 3": "(root): Additional property repliccas is not allowed",
    "service: { externalTrafikPolicy: Local }": "service: Additional property externalTrafikPolicy is not allowed",
    # Names and numbers of ports.
    "ports: [{ name: admin, port: 6379 }]": 'ports[0].name: "admin" is the name of the admin server\'s port',
    "ports: [{ name: web, port: 9600 }]": "ports[0] (web): 9600 is admin.port",
    "ports: [{ name: web, port: 80, targetPort: 9600 }]": "ports[0] (web): 9600 is admin.port",
    "ports: [{ name: web, port: 80 }, { name: web, port: 81 }]": "ports[1].name: web is that of ports[0]",
    "ports: [{ name: a, port: 80 }, { name: b, port: 80, targetPort: 81 }]": "ports[1].port: 80 is that of ports[0]",
    "ports: [{ name: a, port: 80 }, { name: b, port: 81, targetPort: 80 }]": "ports[1].targetPort: 80 is that of ports[0]",
    "ports: [{ name: '6379', port: 6379 }]": NAME,
    "ports: [{ name: 6379, port: 6379 }]": "ports.0.name: Invalid type. Expected: string, given: integer",
    "ports: [{ name: Web, port: 80 }]": NAME,
    "ports: [{ name: web--tls, port: 80 }]": NAME,
    "ports: [{ name: web-, port: 80 }]": NAME,
    "ports: [{ name: sixteen-letters1, port: 80 }]": "ports.0.name: String length must be less than or equal to 15",
    "ports: [{ name: web, port: 65536 }]": "ports.0.port: Must be less than or equal to 65535",
    "ports: [{ name: web, port: 80, nodePort: 30080 }]": "ports[0].nodePort: service.type ClusterIP has none",
    # The Service.
    "service: { externalTrafficPolicy: Local }": "service.externalTrafficPolicy: Local needs service.type NodePort or LoadBalancer",
    "service: { loadBalancerSourceRanges: [10.0.0.0/8] }": "service.loadBalancerSourceRanges: needs service.type LoadBalancer",
    # How many pods.
    "autoscaling: { enabled: true, targetUtilization: 60 }": "autoscaling.targetUtilization: Must be less than or equal to 1",
    "autoscaling: { enabled: true, targetUtilization: 0 }": "autoscaling.targetUtilization: Must be greater than or equal to 0.01",
    "autoscaling: { enabled: true, minReplicas: 11 }": "autoscaling.minReplicas: 11 is above maxReplicas, 10",
    "{ kind: DaemonSet, autoscaling: { enabled: true } }": "autoscaling.enabled: a DaemonSet has a pod on each node",
    # The node's network.
    "{ kind: DaemonSet, hostNetwork: true, ports: [{ name: tls, port: 443 }] }": "ports[0] (tls): with hostNetwork the container can't bind port 443",
    "{ hostNetwork: true, admin: { port: 960 } }": "admin.port: with hostNetwork the container can't bind port 960",
    "{ hostNetwork: true, ports: [{ name: a, port: 6379, hostPort: 6380 }] }": "ports[0].hostPort: with hostNetwork the port of the node is",
    # An empty peer, which Kubernetes refuses.
    "networkPolicy: { enabled: true, adminFrom: [{}] }": "networkPolicy.adminFrom.0: Must have at least 1 properties",
}
