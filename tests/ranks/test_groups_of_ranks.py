"""Each rank counts its own members of a group, and the counts of those with members elsewhere are added up."""

import numpy as np
import pytest

from lpm import building, networks
from lpm.networks import halos
from lpm.partition import Blocks, part_of_groups
from tests.ranks.together import on

AGENTS, GROUPS = 3001, 200


def membership() -> np.ndarray:
    """Groups of all sizes, some of nobody, and agents without one."""
    rng = np.random.default_rng(8)
    return np.where(rng.random(AGENTS) < 0.2, -1, (GROUPS * rng.beta(0.7, 1.5, AGENTS)).astype(int) // 2 * 2)


@pytest.mark.parametrize("built", ["in parts", "from the whole"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_counts_of_groups_add_up(count: int, built: str) -> None:
    ids = membership()
    infectious = np.random.default_rng(9).random(AGENTS) < 0.3
    whole, renumber = networks.groups(ids, GROUPS)
    expected = np.bincount(ids[ids >= 0], infectious[ids >= 0], GROUPS).astype(int)

    def counted(ranks):
        with building.on(ranks) as part:
            part.divide(AGENTS)
            cuts, mine = part.bounds, slice(part.first, part.end)
            if built == "in parts":
                found, _ = networks.groups(ids[mine], GROUPS)
                names = part.met[0].groups
        if built == "from the whole":
            owner = np.repeat(np.arange(count), np.diff(cuts))
            blocks = Blocks(owner, np.arange(AGENTS), np.diff(cuts), ranks.rank)
            found, kept = part_of_groups(whole, blocks, ranks.add, [])
            names = np.argsort(renumber)[kept]
        own = np.concatenate([np.append(infectious[mine], False)[np.asarray(row)].sum(0) for row in found.rows])
        np.testing.assert_array_equal(np.asarray(found.size), np.bincount(ids[ids >= 0], minlength=GROUPS)[names])
        np.testing.assert_array_equal(np.append(names, -1)[np.asarray(found.group)], ids[mine])
        return names, own, halos.total(own, found.shared, ranks), found.shared.entries

    found = on(count, counted)
    parts_of = np.zeros(GROUPS, int)
    for names, own, total, _ in found:
        np.testing.assert_array_equal(total, expected[names])
        parts_of[names] += 1
        assert count == 2 or np.any(own != total)
    assert sum(entries for *_, entries in found) == 2 * (parts_of - 1)[parts_of > 0].sum()
