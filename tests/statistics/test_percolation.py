"""An epidemic over an Erdős–Rényi graph ends as bond percolation says.

Draw an arrow from i to j for each contact over which i would infect j, were i infected. i is infectious for D days and
infects on each with p = 1 - exp(-b), so the arrow is there with probability t(D) = 1 - (1 - p)^D; in the mean

    T = 1 - E[(1 - p)^D] = 1 - g (1 - p) / (1 - (1 - g)(1 - p)),      D geometric on 1, 2, ... with mean 1 / g

(on its last day an agent still infects, since both events look at the same morning).

*Who is infected*: agent j is, if a path of arrows leads to it from a first case. Go back along it: arrows into j come
from different agents, whose D are independent, so they are independent with probability T, and so on further back.
Hence the size of an outbreak is that of undirected percolation,

    A = 1 - (1 - f) G(1 - T A),      G(x) = exp(-c (1 - x)) for mean degree c, a fraction f infected at first,

(Newman 2002, Phys. Rev. E 66, 016128).

*Whether it breaks out* is the way forward: arrows out of i share one D, which makes them alike, and the probability
that one case's outbreak dies out is q = E[exp(-c t(D) (1 - q))] > 1 - A (Kenah & Robins 2007, Phys. Rev. E 76, 036113).

*How far A strays*: write the end of the epidemic as the balance of thresholds and pressure (Sellke 1983). With
x = c T A the pressure on a susceptible agent, its escape is e = exp(-x), and to first order in n^(-1/2)

    dA (1 - (1 - f) e c T) = (1 - f) [e (1 - e) / ((1 - f) n)]^(1/2) N1 + (1 - f) e c [Var t(D) A / n]^(1/2) N2

with N1, N2 standard normal: who escapes a given pressure, and how much pressure the infected made (as in Andersson &
Britton 2000, Stochastic Epidemic Models, theorem 4.2). It includes the draw of the graph, each contact being looked at
once.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

import lpm
from lpm import Calendar
from lpm.kernels import random
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

TRANSMISSION, INFECTIOUS_DAYS = 0.08, 4.0


def days_and_arrows() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of D = 1, 2, ... and t(D)."""
    days = np.arange(1, 400)
    return stats.geom.pmf(days, 1 / INFECTIOUS_DAYS), 1 - np.exp(-TRANSMISSION * days)


def transmissibility() -> float:
    p, g = 1 - np.exp(-TRANSMISSION), 1 / INFECTIOUS_DAYS
    return 1 - g * (1 - p) / (1 - (1 - g) * (1 - p))


def final_size(degree: float, first: float) -> tuple[float, float]:
    """A, and n^(1/2) times its standard deviation."""
    T = transmissibility()
    size = brentq(lambda A: A - 1 + (1 - first) * np.exp(-degree * T * A), 1e-6 if first else 1e-3, 1)
    chance, arrows = days_and_arrows()
    spread = chance @ arrows**2 - (chance @ arrows) ** 2
    escape = np.exp(-degree * T * size)
    variance = (1 - first) * escape * (1 - escape) + ((1 - first) * escape * degree) ** 2 * spread * size
    return size, np.sqrt(variance) / (1 - (1 - first) * escape * degree * T)


def epidemics(agents: int, degree: float, first: float, realizations: int, seed: int, days: int) -> np.ndarray:
    """The final size of each epidemic, as a fraction."""
    settings = sir.Settings(agents, Contacts("erdos_renyi", degree, seed=seed), TRANSMISSION, INFECTIOUS_DAYS, first)
    world = sir.build(settings, Calendar(days))

    def one(r):
        start = (world.model, world.params, world.state, random.key(seed, r))
        return lpm.simulate(*start, steps=days, observe=world.observables[1:3], every=days)[1]

    seen = jax.lax.map(one, jnp.arange(realizations)) if realizations > 1 else jax.tree.map(lambda x: x[None], one(0))
    assert int(seen["infectious"].sum()) == 0, "the epidemic is not over"
    return 1 - np.asarray(seen["susceptible"])[:, 0] / agents


def test_transmissibility_is_the_mean_of_the_arrows():
    chance, arrows = days_and_arrows()
    assert abs(chance @ arrows - transmissibility()) < 1e-12


@pytest.mark.parametrize(
    ("agents", "degree", "first"),
    [
        (200_000, 10.0, 0.01),
        (200_000, 6.0, 0.002),
        pytest.param(1_000_000, 10.0, 0.001, marks=pytest.mark.slow),
    ],
)
def test_final_size_on_an_erdos_renyi_graph_meets_percolation(agents, degree, first):
    """A z-test of one epidemic on a graph of its own, two-sided p = 0.001."""
    size, deviation = final_size(degree, first)
    error = deviation / np.sqrt(agents)
    assert error < 0.005
    (seen,) = epidemics(agents, degree, first, 1, seed=31, days=300)
    assert abs(seen - size) < stats.norm.isf(0.0005) * error


@pytest.mark.slow
def test_one_case_starts_a_large_outbreak_as_often_as_percolation_says():
    """Of 800 epidemics a binomial number are large (p = 0.001 two-sided); of those the mean size meets A."""
    agents, degree, realizations = 2_000, 9.0, 800
    chance, arrows = days_and_arrows()
    dies_out = brentq(lambda q: q - chance @ np.exp(-degree * arrows * (1 - q)), 0, 0.99)
    size, deviation = final_size(degree, 0.0)
    assert 1 - dies_out < size - 0.05, "the two probabilities should be told apart"
    seen = epidemics(agents, degree, 0.0, realizations, seed=32, days=250)
    large = seen > size / 3
    assert ((seen < size / 5) | large).all(), "small and large outbreaks should be told apart"
    assert stats.binomtest(int(large.sum()), realizations, 1 - dies_out).pvalue > 0.001
    # All are on one graph, so that the error of the mean is at most that of one epidemic.
    assert abs(seen[large].mean() - size) < stats.norm.isf(0.0005) * deviation / np.sqrt(agents)
    # They stray from each other by nearly as much as on graphs of their own.
    assert 0.5 < seen[large].std() * np.sqrt(agents) / deviation < 1.1
