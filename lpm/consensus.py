"""What ranks that simulate one population have to agree on: which numbers are not finite, and what is observed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lpm.distributed import Ranks
from lpm.errors import RunError
from lpm.fingerprints import checksum


def agreed(ranks: Ranks, broken: list[list[str]], seen: Mapping[str, np.ndarray]) -> list[list[str]]:
    """What is not finite in each record on any rank.

    Args:
        ranks: all that simulate the population.
        broken: for each record, the names of what is not finite on this rank.
        seen: the observables of those records.
    Raises:
        RunError: if ranks observe different numbers, since a model's sum left the agents of other ranks out.

    >>> from lpm.distributed import alone
    >>> agreed(alone, [["wealth"], []], {"total": np.arange(2)})
    [['wealth'], []]
    """
    if ranks.count == 1:
        return broken
    found = ranks.all((broken, {name: checksum(values) for name, values in seen.items()}))
    of_records = zip(*(bad for bad, _ in found), strict=True)
    bad = [list(dict.fromkeys(name for names in each for name in names)) for each in of_records]
    if not any(bad):
        _compare([sums for _, sums in found])
    return bad


def same(ranks: Ranks, seen: Mapping[str, np.ndarray]) -> None:
    """That all ranks have the same numbers.

    Raises:
        RunError: as `agreed`.
    """
    if ranks.count > 1:
        _compare(ranks.all({name: checksum(values) for name, values in seen.items()}))


def _compare(sums: list[dict[str, str]]) -> None:
    differ = [name for name in sums[0] if len({each[name] for each in sums}) > 1]
    if differ:
        raise RunError(
            f"observables {', '.join(differ)}: asked for the same numbers on all {len(sums)} ranks, got others on "
            "some; a sum over agents leaves out those of other ranks: count with lpm.kernels.stages.number or "
            "strata.count_of, or write ranks.sum(values.sum()) with `from lpm.kernels import ranks`"
        )
