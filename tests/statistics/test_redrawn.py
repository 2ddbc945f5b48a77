"""Contacts that are drawn anew each day, one by one, against the world in which everybody meets everybody."""

import jax
import jax.numpy as jnp
import numpy as np

import lpm
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

AGENTS, DAYS, CONTACTS, CHANCE, INITIAL = 1000, 25, 8, 0.06, 20


def drawn_one_by_one(generator: np.random.Generator) -> np.ndarray:
    """Incidence of one epidemic, (days,): who meets whom is drawn each day for each susceptible agent."""
    stage = np.zeros(AGENTS, np.int8)
    stage[generator.choice(AGENTS, INITIAL, replace=False)] = 1
    found = np.zeros(DAYS)
    for day in range(DAYS):
        susceptible = np.flatnonzero(stage == 0)
        meetings = np.repeat(susceptible, generator.poisson(CONTACTS, len(susceptible)))
        met = generator.integers(0, AGENTS, len(meetings))
        passed = (stage[met] == 1) & (generator.random(len(met)) < CHANCE)
        recovered = (stage == 1) & (generator.random(AGENTS) < 0.2)
        infected = np.unique(meetings[passed])
        stage[recovered] = 2
        stage[infected] = 1
        found[day] = len(infected)
    return found


def test_contacts_drawn_anew_each_day_are_those_of_everybody_with_everybody() -> None:
    """Means and spreads of each fifth day's incidence over 400 epidemics each; of ten comparisons none has a chance of
    less than one in 10,000 (3.9 standard errors)."""
    generator = np.random.default_rng(2)
    explicit = np.array([drawn_one_by_one(generator) for _ in range(400)])[:, 4::5]
    settings = sir.Settings(
        agents=AGENTS, contacts=Contacts("well_mixed"), transmission=CONTACTS * CHANCE, infectious_days=5,
        initial=INITIAL / AGENTS,
    )  # fmt: skip
    world = sir.build(settings, Calendar(DAYS))

    def one(number: jax.Array) -> jax.Array:
        key = lpm.key(3, number)
        _, seen = lpm.simulate(world.model, world.params, world.state, key, steps=DAYS, observe=world.observables)
        return seen["incidence"]

    simulated = np.asarray(jax.lax.map(one, jnp.arange(400)), np.float64)[:, 4::5]
    for moment in (lambda x: x, lambda x: (x - x.mean(0)) ** 2):
        both = [moment(each) for each in (explicit, simulated)]
        error = np.sqrt(sum(each.var(0, ddof=1) / len(each) for each in both))
        assert (np.abs(both[0].mean(0) - both[1].mean(0)) < 3.9 * error).all()
