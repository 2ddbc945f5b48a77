"""Who meets whom, for worlds with one network: settings, and the network made from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from lpm import building
from lpm.kernels import strata
from lpm.settings import Fraction, Mistake, Number


@dataclasses.dataclass(frozen=True)
class Contacts:
    """A contact network.

    Args:
        kind: "erdos_renyi" (every pair alike), "small_world" (a ring with shortcuts), "heavy_tailed" (degrees from a
            power law with exponent 3), "well_mixed" (no network: everybody meets everybody).
        mean_degree: contacts of each agent; not used if well mixed.
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


def network(contacts: Contacts, agents: int) -> tuple[Any, np.ndarray]:
    """The network, and the stable id of the agent that stands at each position.

    Args:
        contacts: what kind.
        agents: how many.
    """
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
        edges = networks.small_world(agents, 2 * round(contacts.mean_degree / 2), contacts.rewired, seed=contacts.seed)
    elif contacts.kind == "heavy_tailed":
        largest = max(2, min(agents - 1, 1000))
        degrees = networks.heavy_tailed_degrees(agents, contacts.mean_degree, 3.0, largest, seed=contacts.seed)
        edges = networks.given_degrees(degrees, seed=contacts.seed)
    else:
        edges = networks.erdos_renyi(agents, contacts.mean_degree, seed=contacts.seed)
    graph, order = networks.graph(edges)
    return graph, order.astype(np.uint32)
