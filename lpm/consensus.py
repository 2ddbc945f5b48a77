"""What ranks that simulate one population have to agree on: which numbers are not finite, and what is observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lpm.distributed import Ranks
from lpm.errors import RunError
from lpm.fingerprints import checksum


def agreed(
    ranks: Ranks, broken: list[list[str]], seen: Mapping[str, np.ndarray], differ: Sequence[str] = ()
) -> list[list[str]]:
    """What is not finite in each record on any rank.

    Args:
        ranks: all that simulate the population.
        broken: for each record, the names of what is not finite on this rank.
        seen: the observables of those records.
        differ: those that differ between this process's devices.
    Raises:
        RunError: if ranks observe different numbers, since a model's sum left the agents of other ranks out.

    >>> from lpm.distributed import alone
    >>> agreed(alone, [["wealth"], []], {"total": np.arange(2)})
    [['wealth'], []]
    """
    if ranks.count == 1 and not differ:
        return broken
    found = ranks.all((broken, {name: checksum(values) for name, values in seen.items()}))
    of_records = zip(*(bad for bad, _ in found), strict=True)
    bad = [list(dict.fromkeys(name for names in each for name in names)) for each in of_records]
    if not any(bad):
        _compare([sums for _, sums in found], differ)
    return bad


def same(ranks: Ranks, seen: Mapping[str, np.ndarray]) -> None:
    """That all ranks have the same numbers.

    Raises:
        RunError: as `agreed`.
    """
    if ranks.count > 1:
        _compare(ranks.all({name: checksum(values) for name, values in seen.items()}))


def _compare(sums: list[dict[str, str]], differ: Sequence[str] = ()) -> None:
    found = [name for name in sums[0] if name in differ or len({each[name] for each in sums}) > 1]
    if found:
        of = f"{len(sums)} ranks" if len(sums) > 1 else "devices"
        raise RunError(
            f"observables {', '.join(found)}: asked for the same numbers on all {of}, got others on "
            "some; a sum over agents leaves out those of other ranks: count with lpm.kernels.stages.number or "
            "strata.count_of, or write ranks.sum(values.sum()) with `from lpm.kernels import ranks`"
        )
