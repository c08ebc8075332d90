"""Kubernetes' autoscaler, as far as it goes by one external metric with an average target.

After pkg/controller/podautoscaler/replica_calculator.go (GetExternalPerPodMetricReplicas) and KEDA's
pkg/scalers/external_scaler.go: the float is read where it is above 0, else the integer.
"""

from math import ceil

TOLERANCE = 0.1


def replicas(current, specs, values, least, most):
    """How many there are to be, of one trigger's answers."""
    if not current:
        return 0
    [spec], [value] = specs.metricSpecs, values.metricValues
    target = spec.targetSizeFloat or spec.targetSize
    metric = value.metricValueFloat or value.metricValue
    wanted = current
    if abs(metric / (target * current) - 1) > TOLERANCE:
        wanted = ceil(metric / target)
    return min(max(wanted, least, 1), most)
