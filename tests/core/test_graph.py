"""Cycles, orders and heights of dependency graphs, long and wide ones included."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.core.graph import (
    dependents,
    heights,
    nearest,
    shortest_cycle,
    topological,
)

LONG = 10_000
CHAIN = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(LONG)}
RING = {**CHAIN, "t0": [f"t{LONG - 1}"]}
FAN_IN = {"end": [f"t{i}" for i in range(5_000)], **{f"t{i}": [] for i in range(5_000)}}

DIAMOND = {"end": ["left", "right"], "left": ["start"], "right": ["start"], "start": []}

names = st.sampled_from("abcdefg")
graphs = st.dictionaries(names, st.lists(names, max_size=4))
slow = settings(derandomize=True, deadline=None, max_examples=300)


def test_dependents_turns_the_edges_around() -> None:
    assert dependents(DIAMOND) == {
        "end": (),
        "left": ("end",),
        "right": ("end",),
        "start": ("left", "right"),
    }


def test_an_edge_that_is_there_twice_counts_once() -> None:
    assert dependents({"a": ["b", "b"], "b": []}) == {"a": (), "b": ("a",)}
    assert topological({"a": ["b", "b"], "b": []}) == ["b", "a"]


def test_unknown_dependencies_are_ignored() -> None:
    graph = {"a": ["gone"]}

    assert dependents(graph) == {"a": ()}
    assert topological(graph) == ["a"]
    assert heights(graph) == {"a": 1}
    assert shortest_cycle(graph) is None


def test_topological_order_keeps_to_the_given_order() -> None:
    assert topological({"c": [], "b": ["a"], "a": [], "d": []}) == ["c", "a", "b", "d"]
    assert topological(DIAMOND) == ["start", "left", "right", "end"]


def test_heights_count_the_longest_path_of_dependents() -> None:
    graph = {**DIAMOND, "more": ["right"], "last": ["more"], "alone": []}

    assert heights(graph) == {
        "end": 1,
        "last": 1,
        "alone": 1,
        "left": 2,
        "more": 2,
        "right": 3,
        "start": 4,
    }


def test_a_cycle_has_no_order() -> None:
    with pytest.raises(ValueError, match="cycle"):
        topological({"a": ["b"], "b": ["a"]})


def test_a_cycle_that_somebody_made_by_hand_stops_no_heights() -> None:
    graph = {"a": ["b"], "b": ["a"], "c": [], "d": ["c"]}
    assert heights(graph) == {"a": 1, "b": 1, "c": 2, "d": 1}


def test_a_long_chain_is_fine() -> None:
    assert topological(CHAIN) == list(CHAIN)
    assert heights(CHAIN)["t0"] == LONG
    assert shortest_cycle(CHAIN) is None


def test_a_wide_fan_in_is_fine() -> None:
    assert topological(FAN_IN)[-1] == "end"
    assert heights(FAN_IN)["t0"] == 2
    assert shortest_cycle(FAN_IN) is None


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({}, None),
        (DIAMOND, None),
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, ["a", "b", "a"]),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c", "a"]),
        # The way into a cycle, and out of it, is no part of it.
        (
            {"in": ["a"], "a": ["b"], "b": ["a", "out"], "out": []},
            ["a", "b", "a"],
        ),
        # A longer one that is met first.
        (
            {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["c"]},
            ["c", "d", "c"],
        ),
    ],
)
def test_the_shortest_cycle(
    graph: dict[str, list[str]], cycle: list[str] | None
) -> None:
    assert shortest_cycle(graph) == cycle


def test_the_cycle_of_a_long_ring() -> None:
    cycle = shortest_cycle(RING)

    assert cycle is not None
    assert len(cycle) == LONG + 1
    assert cycle[0] == cycle[-1]


def test_a_graph_full_of_long_cycles_has_an_answer() -> None:
    layers, width = 60, 30
    graph = {
        f"{layer}-{place}": [
            f"{(layer + 1) % layers}-{other}" for other in range(width)
        ]
        for layer in range(layers)
        for place in range(width)
    }

    cycle = shortest_cycle(graph)

    assert cycle is not None
    assert len(cycle) == layers + 1


def brute_force(graph: dict[str, list[str]]) -> int | None:
    for length in range(1, len(graph) + 1):
        for path in itertools.permutations(graph, length):
            following = [*path[1:], path[0]]
            if all(b in graph[a] for a, b in zip(path, following, strict=True)):
                return length
    return None


@slow
@given(graphs)
def test_the_cycle_is_a_cycle_and_none_is_shorter(graph: dict[str, list[str]]) -> None:
    cycle = shortest_cycle(graph)

    if cycle is None:
        assert brute_force(graph) is None
        return
    assert cycle[0] == cycle[-1]
    assert all(b in graph[a] for a, b in itertools.pairwise(cycle))
    assert len(cycle) - 1 == brute_force(graph)


@slow
@given(graphs)
def test_order_and_heights_agree_with_the_edges(graph: dict[str, list[str]]) -> None:
    if shortest_cycle(graph):
        return
    order = topological(graph)
    height = heights(graph)

    assert sorted(order) == sorted(graph)
    for name, needs in graph.items():
        for need in set(needs) & set(graph):
            assert order.index(need) < order.index(name)
    for name, users in dependents(graph).items():
        assert height[name] == 1 + max((height[user] for user in users), default=0)


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("titel", ["title", "tasks"], "title"),
        ("dependsOn", ["depends_on", "paths"], "depends_on"),
        ("xyz", ["title"], None),
        ("", ["title"], None),
        ("title", [], None),
        ("t" * 1_000_000, ["title"], None),
    ],
)
def test_nearest(name: str, names: list[str], found: str | None) -> None:
    assert nearest(name, names) == found


def test_nearest_among_many_compares_the_likeliest() -> None:
    many = [f"task-{i}" for i in range(20_000)] + ["deploy-web"]

    assert nearest("deploy-wev", many) == "deploy-web"
