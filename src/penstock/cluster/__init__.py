"""Beyond one machine: instances on Ray, manifests for Kubernetes, and what its autoscaler asks."""
