"""Derivatives where an agent's contacts are contacts of each other: right in shape, roughly right in size, and said."""

import networkx
import numpy as np
import pytest

from lpm import gradients, networks
from lpm.clustering import MOST, ClusteredContacts, clustering, warning_of
from lpm.gradients import check_gradient, jacobian
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts


def small_world(agents: int, rewired: float) -> World:
    contacts = Contacts(kind="small_world", mean_degree=8, rewired=rewired, seed=21)
    settings = sir.Settings(agents=agents, contacts=contacts, transmission=0.06, infectious_days=8, initial=0.02)
    return sir.build(settings, Calendar(50))


@pytest.mark.slow
def test_a_small_world_has_a_derivative() -> None:
    """1500 agents, 32 realizations, fixed seed: slopes between .65 and 1.15 and chance (p = 0.001 each).

    Without what kin takes they were -7 to 4 in benchmarks/gradients (small world of degree 10).
    """
    found = check_gradient(
        small_world(1500, 0.1), steps=50, observables=["infectious"], realizations=32, change={"initial": 0.2}
    )
    for each in found.comparisons:
        assert each.error < 0.1, str(found)
        assert 0.65 - 3.3 * each.error < each.slope < 1.15 + 3.3 * each.error, str(found)
        assert each.cosine > 0.98 - 3.3 * each.cosine_error, str(found)
    assert any("clustered contacts" in text for text in found.warnings), str(found)


def test_a_rule_warns_where_contacts_are_clustered_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(Exception):
        """The runs would begin here."""

    def begin(*_: object) -> None:
        raise Begun

    monkeypatch.setattr(gradients, "_of_one", begin)
    world = small_world(300, 0.1)
    warned = pytest.warns(ClusteredContacts, match=r"off in size by a third .* take lpm\.gradients\.jacobian")
    with warned, pytest.raises(Begun):
        jacobian(world, ["transmission"], steps=4)
    with pytest.raises(Begun):  # warnings are errors in tests
        jacobian(world, ["transmission"], steps=4, method="differences")
    assert warning_of(world.state) is not None
    assert warning_of(small_world(300, 1.0).state) is None


@pytest.mark.parametrize("by_agent", [False, True])
@pytest.mark.parametrize(
    "edges",
    [networks.small_world(400, 8, 0.1, 3), networks.erdos_renyi(400, 5, seed=3), networks.complete(12)],
    ids=["small world", "random", "complete"],
)
def test_clustering_is_the_mean_over_agents(edges: networks.Edges, by_agent: bool) -> None:
    """Within five standard errors of a share among a thousand pairs (p = 1e-6)."""
    graph = networkx.Graph(list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)))
    pairs = [agent for agent, degree in graph.degree if degree > 1]
    expected = np.mean([networkx.clustering(graph, agent) for agent in pairs])
    found = clustering(networks.graph(edges, by_agent=by_agent, keep_order=True))
    assert abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / 900) + 1e-9
    assert (found > MOST) == (expected > MOST)
