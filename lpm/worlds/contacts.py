"""Who meets whom, for worlds with one network: settings, and the network made from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from lpm import building
from lpm.kernels import strata
from lpm.settings import Fraction, Mistake, Number, refuse


@dataclasses.dataclass(frozen=True)
class Contacts:
    """A contact network.

    Args:
        kind: "erdos_renyi" (every pair alike), "small_world" (a ring with shortcuts), "heavy_tailed" (degrees from a
            power law with exponent 3), "well_mixed" (no network: everybody meets everybody).
        mean_degree: contacts of each agent; even for a small world, not used if well mixed.
        rewired: share of a small world's contacts that are shortcuts.
        seed: of the network.
        file: an edge list instead: CSV or parquet with the columns source and target, one row for each pair of
            contacts. Its agents are simulated, and the number of agents, `kind` and what follows it are not used.
    """

    kind: Literal["erdos_renyi", "small_world", "heavy_tailed", "well_mixed"] = "erdos_renyi"
    mean_degree: Annotated[float, Number(0, 1000, "contacts of each agent")] = 10.0
    rewired: Fraction = 0.1
    seed: Annotated[int, Number(0, 2**63, "seed of the network")] = 0
    file: str | None = None


def check_file(file: str | None, path: tuple[str | int, ...]) -> list[Mistake]:
    """A mistake if a file that the settings name does not exist."""
    if file is None or Path(file).is_file():
        return []
    advice = "write its path from the folder you start lpm in"
    return [Mistake(path, f"asked for a file, got {file!r}, which is not there; {advice}")]


def check_contacts(contacts: Contacts, agents: int) -> list[Mistake]:
    """A file that does not exist, or a mean degree that no network of this kind and size has."""
    if contacts.file is not None or contacts.kind == "well_mixed":
        return check_file(contacts.file, ("contacts", "file"))
    mean, of = contacts.mean_degree, f"for {contacts.kind} among {agents} agents"
    if contacts.kind == "small_world":
        good, asked = mean % 2 == 0 and 2 <= mean <= agents - 1, f"an even number from 2 to {agents - 1} {of}"
        advice = f"write {max(2, 2 * round(min(mean, agents - 2) / 2))}"
    elif contacts.kind == "heavy_tailed":
        most = (_largest(agents) + 1) / 2
        good, asked = 1 < mean < most, f"a number above 1 and below {most:g} {of}"
        advice = "write one of those, or simulate more agents"
    else:
        good, asked = mean <= agents - 1, f"at most {agents - 1} {of}"
        advice = "write fewer contacts, or simulate more agents"
    return [] if good else [Mistake(("contacts", "mean_degree"), f"asked for {asked}, got {mean:g}; {advice}")]


def _largest(agents: int) -> int:
    """Degree of a heavy-tailed network."""
    return max(2, min(agents - 1, 1000))


def network(contacts: Contacts, agents: int) -> tuple[Any, np.ndarray]:
    """The network, and the stable id of the agent that stands at each position.

    Args:
        contacts: what kind.
        agents: how many.

    Raises:
        InputError: for what `check_contacts` finds.
    """
    refuse(check_contacts(contacts, agents))
    if contacts.file is not None:
        from lpm import networks

        graph, order = networks.graph(networks.edges_from_file(contacts.file)[0])
        return graph, order.astype(np.uint32)
    if contacts.kind == "well_mixed":
        ids = building.numbers(agents)
        everybody = strata.strata(np.zeros(len(ids), np.uint8), np.zeros(len(ids), np.uint8), 1, 1)
        one = jnp.ones((1, 1), jnp.float32)
        return strata.Mixing(everybody, one, one, one * agents), ids
    from lpm import networks

    if contacts.kind == "small_world":
        edges = networks.small_world(agents, int(contacts.mean_degree), contacts.rewired, seed=contacts.seed)
    elif contacts.kind == "heavy_tailed":
        seed, mean = contacts.seed, contacts.mean_degree
        degrees = networks.heavy_tailed_degrees(agents, mean, 3.0, _largest(agents), seed=seed)
        edges = networks.given_degrees(degrees, seed=contacts.seed)
    else:
        edges = networks.erdos_renyi(agents, contacts.mean_degree, seed=contacts.seed)
    graph, order = networks.graph(edges)
    return graph, order.astype(np.uint32)
