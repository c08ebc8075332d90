"""KServe's objects: the runtime that says how Penstock is run, and the service that runs it."""

from penstock.cluster.kubernetes.core import manifest
from penstock.cluster.kubernetes.pod import container, grace, pod_security, resources, volumes
from penstock.cluster.kubernetes.wanted import Manifest, Wanted

FOLDER = "/mnt/models"
"""Where KServe puts what ``storageUri`` names."""
CONTAINER = "kserve-container"
FORMAT = "penstock"
"""A whole repository: folders of models, each with its versions."""


def runtime(wanted: Wanted) -> Manifest:
    folder = wanted.source.where if wanted.source.kind == "image" else FOLDER
    ports = ["--http-port", str(wanted.http_port), "--grpc-port", str(wanted.grpc_port)]
    arguments = ["serve", folder, "--host", "0.0.0.0", *ports, "--log-format", "json"]
    served = container(wanted, CONTAINER, arguments)
    spec = {
        "annotations": {
            "prometheus.kserve.io/port": str(wanted.http_port),
            "prometheus.kserve.io/path": "/metrics",
        },
        "supportedModelFormats": [
            {"name": FORMAT, "version": "1", "autoSelect": True, "priority": 1},
            {"name": "triton", "version": "2", "autoSelect": False},
        ],
        "protocolVersions": ["v2", "grpc-v2"],
        "multiModel": False,
        "containers": [served],
        "volumes": volumes(wanted),
    }
    return manifest("serving.kserve.io/v1alpha1", "ServingRuntime", wanted.name, wanted, spec)


def service(wanted: Wanted) -> Manifest:
    """As a plain Deployment, which KServe scales only where nobody else does."""
    model: Manifest = {
        "modelFormat": {"name": FORMAT, "version": "1"},
        "runtime": wanted.name,
        "protocolVersion": "v2",
        "resources": resources(wanted),
    }
    if wanted.source.address:
        model["storageUri"] = wanted.source.address
    spec = {
        "predictor": {
            "minReplicas": wanted.least,
            "maxReplicas": wanted.most,
            "terminationGracePeriodSeconds": grace(wanted),
            "automountServiceAccountToken": False,
            "securityContext": pod_security(),
            "model": model,
        }
    }
    made = manifest("serving.kserve.io/v1beta1", "InferenceService", wanted.name, wanted, spec)
    made["metadata"]["annotations"] = {
        "serving.kserve.io/deploymentMode": "Standard",
        **({"serving.kserve.io/autoscalerClass": "external"} if wanted.keda else {}),
    }
    return made
