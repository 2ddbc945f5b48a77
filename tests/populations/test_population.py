from dataclasses import replace

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.populations import new_york_city


@pytest.fixture(scope="module")
def good():
    return new_york_city(agents=2_000, cache=False)


def changed(array, at, value):
    array = array.copy()
    array[at] = value
    return array


def test_counts_of_the_summary_agree_with_the_arrays(good):
    summary = good.summary()
    assert summary["people"] == len(good) == 2_000
    assert summary["households"] == np.sum(good.position == 0)
    assert summary["households"] == pytest.approx(np.sum(1.0 / good.size))
    assert summary["people in school groups"] + summary["people in workplaces"] == np.sum(good.place >= 0)
    assert summary["school groups"] + summary["workplaces"] == len(good.place_kind)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("age", lambda p: p.age.astype(np.int64), "population age: asked for an array of"),
        ("ids", lambda p: p.ids[:-1], "population ids: asked for an array of"),
        ("region", lambda p: p.region[::-1].copy(), "rows sorted by region"),
        ("region", lambda p: changed(p.region, -1, 9), "an index below 5"),
        ("size", lambda p: changed(p.size, 0, 32), "1 to 31"),
        ("size", lambda p: changed(p.size, 0, 2), "each household as one run"),
        ("size", lambda p: changed(p.size, -1, p.size[-1] + 1), "each household as one run"),
        ("position", lambda p: changed(p.position, 0, 1), "each household as one run"),
        ("position", lambda p: changed(p.position, -1, 0), "each household as one run"),
        ("place", lambda p: changed(p.place, 0, len(p.place_kind)), "or a group below"),
        ("place", lambda p: changed(p.place, 0, -2), "-1 for none"),
        ("place_kind", lambda p: changed(p.place_kind, 0, 2), "0 .school. or 1 .workplace."),
        ("place_region", lambda p: p.place_region[::-1].copy(), "groups sorted by region"),
        ("place_region", lambda p: changed(p.place_region, -1, 5), "an index below 5"),
    ],
)
def test_a_broken_promise_is_found(good, field, change, message):
    good.check()
    with pytest.raises(InputError, match=message):
        replace(good, **{field: change(good)}).check()
