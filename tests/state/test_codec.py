"""Records to bytes: the format says how, whatever writes them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.state.codec import canonical

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(
    allow_nan=False, allow_infinity=False
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.dictionaries(texts, values))
def test_bytes_are_those_of_the_standard_library(record: dict[str, object]) -> None:
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)

    assert canonical(record) == f"{text}\n".encode()
