"""Manifests: what is wanted, as the objects that Kubernetes, KServe and KEDA read."""
