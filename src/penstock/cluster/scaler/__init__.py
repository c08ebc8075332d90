"""KEDA's external scaler: the forecast for all replicas, served as the number of replicas wanted."""
