"""The few lines of a /metrics page that scaling goes by, out of very many."""

from collections.abc import Iterator

from penstock.cluster.scaler.point import NAMES, Sample

_STARTS = tuple(f"{name}{after}" for name in NAMES for after in "{ ")


def samples(text: str) -> Iterator[Sample]:
    """Raises ValueError where a line is none of Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = [line for line in text.splitlines() if line.startswith(_STARTS)]
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
