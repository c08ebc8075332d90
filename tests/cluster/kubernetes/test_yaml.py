"""What is written as YAML is read back as it was."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.cluster.kubernetes.write import manifests, said
from penstock.cluster.kubernetes.yaml import dump
from tests.cluster.kubernetes.wanted import ALL

ODD = (
    "yes", "No", "1e3", "0x1", "null", "~", "=", "%", "@x", "1.0", "0:0", "a:b", "#", "", "a: b", "- a",
    "a\nb\n", "\n", "a\n\nb", " a\nb", "a\n b", "x #y", "\x85", "\ufeff",
)  # fmt: skip
TEXTS = st.text(max_size=9) | st.sampled_from(ODD)
NUMBERS = st.integers(-(2**53), 2**53) | st.integers(-9999, 9999).map(lambda number: number / 8)
VALUES = st.recursive(
    TEXTS | st.booleans() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_anything_comes_back(values):
    manifest = {"kind": "Any", **{f"x{key}": value for key, value in values.items()}, "spec": values}
    assert list(yaml.safe_load_all(dump([manifest, manifest]))) == [manifest, manifest]


def test_manifests_come_back_with_their_comments():
    for wanted in ALL.values():
        made = manifests(wanted)
        text = dump(made, said)
        assert list(yaml.safe_load_all(text)) == made
        assert text.count("# terminationGracePeriodSeconds") == 1


def test_plain_words_stay_plain():
    assert dump([{"kind": "Service", "on": "off", "path": "/v2/health"}]) == (
        'kind: Service\n"on": "off"\npath: /v2/health\n'
    )
