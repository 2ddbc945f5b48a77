"""The worlds whose scaling is counted and measured."""

from __future__ import annotations

from collections.abc import Callable

from lpm import Calendar
from lpm.config import build_world, load
from lpm.world import World
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts


def random_graph(agents: int) -> World:
    """SIR, ten contacts each, drawn from all: nobody is near anybody."""
    return sir.build(sir.Settings(agents=agents, contacts=Contacts(mean_degree=10)), Calendar(100))


def small_world(agents: int) -> World:
    """SIR, ten contacts each, nine of ten among the next on a ring, whose order is that of ids."""
    return sir.build(sir.Settings(agents=agents, contacts=Contacts("small_world", mean_degree=10)), Calendar(100))


def ring(agents: int) -> World:
    """As `small_world`, without shortcuts: all contacts are near."""
    contacts = Contacts("small_world", mean_degree=10, rewired=0.0)
    return sir.build(sir.Settings(agents=agents, contacts=contacts), Calendar(100))


def city(agents: int) -> World:
    """`nyc-2020` with so many people: households, schools, workplaces, community."""
    return build_world(load("nyc-2020", [f"settings.people.agents={agents}"]))


WORLDS: dict[str, Callable[[int], World]] = {
    "random graph": random_graph,
    "small world": small_world,
    "ring": ring,
    "city": city,
}
