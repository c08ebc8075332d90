"""Beyond one machine: what Kubernetes is told, and what its autoscaler asks."""
