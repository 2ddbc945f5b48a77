"""Who meets whom: graphs, households and other groups, contact matrices, from generators or files."""

from lpm.networks.build import graph
from lpm.networks.edges import Edges, simple_edges
from lpm.networks.files import edges_from_file, groups_from_file
from lpm.networks.graphs import (
    complete,
    erdos_renyi,
    given_degrees,
    heavy_tailed_degrees,
    regular,
    small_world,
)
from lpm.networks.groups import groups, households
from lpm.networks.mixing import mixing_matrix, reciprocal, scale_to_mean

__all__ = [
    "Edges",
    "complete",
    "edges_from_file",
    "erdos_renyi",
    "given_degrees",
    "graph",
    "groups",
    "groups_from_file",
    "heavy_tailed_degrees",
    "households",
    "mixing_matrix",
    "reciprocal",
    "regular",
    "scale_to_mean",
    "simple_edges",
    "small_world",
]
