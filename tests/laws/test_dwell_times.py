"""Stages last as long as the settings ask, and forks are taken as often.

A stage of mean m and k phases lasts k geometric times of mean m / k: variance m (m - k) / k. The z-tests and
chi-squared tests have fixed seeds; each would fail by chance with p = 1e-4, any of all 21 with p < 0.003.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lpm
from lpm import Calendar, World
from lpm.kernels.stages import Stages
from lpm.worlds import city, seir
from lpm.worlds.contacts import Contacts
from lpm.worlds.disease import Disease, Dwell
from tests.laws.worlds import STAGES

Z = stats.norm.isf(1e-4 / 2)
DAYS = 250
SEIR = seir.Settings(
    30_000,
    Contacts("well_mixed"),
    transmission=0.0,
    latent_days=3.7,
    latent_deviation=1.8,
    infectious_days=9.0,
    infectious_deviation=9.0,
)
DISEASE = Disease(admission=(0.5,) * 9, intensive_care=(0.6,) * 9, exposed=Dwell(2.6, 0.9))
CITY = city.Settings(city.People(agents=20_000), importation=(), disease=DISEASE)


def lives(world: World, first: str) -> np.ndarray:
    """Everybody's stage from the day on which all enter the stage named: (days + 1, agents)."""
    course = world.state.fixed["course"]
    entered = Stages(jnp.full(world.agents, course.first(first), jnp.uint8), course.size)
    start = (world.model, world.params, world.state.replace(stage=entered), lpm.key(11))
    _, seen = lpm.simulate(*start, steps=DAYS, observe=(STAGES,), start=False)
    return np.concatenate([np.asarray(entered.value)[None], np.asarray(seen["stages"])])


@functools.cache
def everybody(name: str) -> tuple[World, np.ndarray]:
    world = seir.build(SEIR, Calendar(DAYS)) if name == "seir" else city.build(CITY, Calendar(DAYS))
    if name == "city":
        still = {layer: jnp.float32(0) for layer in world.params.transmission}
        world = dataclasses.replace(world, params=dataclasses.replace(world.params, transmission=still))
    return world, lives(world, "exposed")


ASKED = {
    ("seir", "exposed"): (SEIR.latent_days, SEIR.latent_deviation),
    ("seir", "infectious"): (SEIR.infectious_days, SEIR.infectious_deviation),
    **{
        ("city", stage): dataclasses.astuple(getattr(DISEASE, stage))
        for stage in ("exposed", "presymptomatic", "symptomatic", "asymptomatic", "hospitalised", "critical")
    },
}


@pytest.mark.parametrize(("name", "stage"), ASKED)
def test_stages_last_as_long_as_asked(name, stage):
    world, seen = everybody(name)
    asked_mean, asked_deviation = ASKED[name, stage]
    kinds = world.state.fixed["course"].kinds(stage)
    days = np.isin(seen, kinds).sum(0)
    assert not np.isin(seen[-1], kinds).any(), "the run is too short"
    days = days[days > 0]
    assert len(days) > 2000
    phases = len(kinds)
    variance = asked_mean * (asked_mean - phases) / phases
    error = np.sqrt(variance / len(days))
    assert abs(days.mean() - asked_mean) < Z * error
    # the variance of a sample variance is (kurtosis - 1) sigma^4 / n
    kurtosis = float(stats.nbinom.stats(phases, phases / asked_mean, moments="k")) + 3
    assert abs(days.var() - variance) < Z * variance * np.sqrt((kurtosis - 1) / len(days))
    # the deviation asked is met by the best whole number of phases, of all that the mean allows
    deviations = [np.sqrt(asked_mean * (asked_mean - k) / k) for k in range(1, int(asked_mean) + 1)]
    best = min(abs(deviation - asked_deviation) for deviation in deviations)
    assert abs(np.sqrt(variance) - asked_deviation) < best + 0.1 * asked_deviation


@pytest.mark.parametrize(
    ("fork", "before", "first", "second"),
    [
        ("symptoms", "exposed", "presymptomatic", "asymptomatic"),
        ("admission", "symptomatic", "hospitalised", "recovered"),
        ("intensive_care", "hospitalised", "critical", "recovered"),
        ("death", "critical", "dead", "recovered"),
    ],
)
def test_forks_are_taken_as_often_as_asked_at_each_age(fork, before, first, second):
    world, seen = everybody("city")
    course, band = world.state.fixed["course"], np.asarray(world.state.fixed["band"])
    came = np.isin(seen, course.kinds(before)).any(0)
    took = came & np.isin(seen, course.kinds(first)).any(0)
    other = came & ~took & np.isin(seen, course.kinds(second)).any(0)
    assert (took | other)[came].all()
    chance = np.array(getattr(DISEASE, fork))
    n, k = np.bincount(band[came], minlength=9), np.bincount(band[took], minlength=9)
    chi2 = ((k - n * chance) ** 2 / (n * chance * (1 - chance))).sum()
    assert chi2 < stats.chi2.isf(1e-4, 9)
    assert (n * chance).min() > 20


def test_infectious_days_of_the_sir_world_are_geometric():
    from lpm.worlds import sir

    settings = sir.Settings(30_000, Contacts("well_mixed"), transmission=0.0, infectious_days=6.5, initial=1.0)
    world = sir.build(settings, Calendar(DAYS))
    _, seen = lpm.simulate(world.model, world.params, world.state, lpm.key(3), steps=DAYS, observe=(STAGES,))
    days = 1 + (jax.device_get(seen["stages"]) == sir.INFECTIOUS).sum(0)
    counts = np.bincount(np.minimum(days, 40), minlength=41)[1:]
    expected = stats.geom.pmf(np.arange(1, 41), 1 / 6.5)
    expected[-1] = stats.geom.sf(39, 1 / 6.5)
    assert stats.chisquare(counts, expected * len(days)).pvalue > 1e-4
