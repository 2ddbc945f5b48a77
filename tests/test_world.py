"""A world's networks have the same agents at the same positions, or it is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import networks
from lpm.errors import InputError

AGENTS = 400
EDGES = networks.erdos_renyi(AGENTS, 5, seed=1)
HOMES = networks.households(np.arange(AGENTS) // 4)


def world(**found: object) -> lpm.World:
    """Agents over some networks, who do nothing."""
    fixed = {"id": jnp.arange(AGENTS, dtype=jnp.uint32), **found}
    return lpm.World(lpm.chain(rest=lambda params, state, key: (state, {})), (), lpm.initial_state({}, fixed=fixed), ())


@pytest.mark.parametrize(
    "beside", [{"homes": HOMES}, {"friends": networks.graph(networks.erdos_renyi(AGENTS, 5, seed=2))[0]}]
)
def test_a_graph_in_an_order_of_its_own_is_refused_beside_another_network(beside: dict[str, object]) -> None:
    with pytest.raises(InputError, match="keep_order=True"):
        world(contacts=networks.graph(EDGES)[0], **beside)


def test_names_that_the_store_has_itself_are_refused() -> None:
    first = lpm.initial_state({"x": jnp.zeros(3)})
    model = lpm.chain(rest=lambda params, state, key: (state, {}))
    for name in ("time", "committed", "region"):
        seen = (lpm.Observable(name, lambda state, info: state.step),)
        with pytest.raises(ValueError, match=f"got \\['{name}'\\]; rename"):
            lpm.World(model, (), first, seen, coords={"region": ("a", "b")})


def test_a_graph_alone_may_have_its_order_and_others_may_be_kept() -> None:
    kept = networks.graph(EDGES, keep_order=True)
    world(contacts=networks.graph(EDGES)[0])
    world(contacts=kept, friends=kept, homes=HOMES)
    world(contacts=networks.graph(networks.regular(AGENTS, 4, 1))[0], homes=HOMES)  # equal degrees: nobody is moved
