"""What tests want on a cluster: the plain case, and everything at once."""

from penstock.cluster.kubernetes.wanted import Scaled, Secrets, Source, Wanted

PLAIN = Wanted(image="penstock:1", source=Source("claim", "models"))
FIXED = Wanted(
    image="registry.example.com:5000/team/penstock@sha256:" + "a" * 64, source=Source("image", "/m")
)
FETCHED = Wanted(
    image="penstock:1", source=Source("uri", "s3://bucket/models"), gpu=2, grpc_port=-1, least=1, most=1
)
SCALED = Wanted(
    image="penstock:1",
    source=Source("claim", "models", "team/a"),
    least=2,
    most=10,
    keda=True,
    scaled=(Scaled("digits", 50.0), Scaled("Käse Größe", carries=12.5)),
)
FULL = Wanted(
    name="search",
    namespace="ml",
    image="penstock:1",
    source=Source("claim", "models"),
    least=0,
    most=9,
    cpu="1500m",
    memory="8Gi",
    gpu=1,
    settings='[server]\ndrain_s = 12\n\n[model.target]\np99_ms = 20  # "ms"\n',
    has_keys=True,
    drain_s=12.0,
    lame_duck_s=1.5,
    secrets=Secrets(keys="keys", tls="tls", scaler_tls="scaler.tls"),
    keda=True,
    monitor=True,
    prometheus="http://prometheus.monitoring:9090",
    demand='sum(rate(gateway_requests_total{host="search"}[1m]))',
    scaled=(Scaled("digits"),),
)
ASKING = Wanted(
    image="penstock:1",
    source=Source("claim", "models"),
    least=1,
    most=4,
    keda=True,
    scaled=(Scaled("digits"),),
    secrets=Secrets(keys="keys", tls="tls"),
)
ALL = {
    "plain": PLAIN, "fixed": FIXED, "fetched": FETCHED, "scaled": SCALED, "full": FULL, "asking": ASKING,
}  # fmt: skip
