"""Epidemics in households by Reed and Frost's chain binomial model."""

from math import comb

import numpy as np


def final_sizes(others: int, escape: float) -> np.ndarray:
    """How many others one infected member infects in the end: (others + 1,) probabilities.

    m_{s,j} = C(s, j) m_{j,j} q^{(s - j)(1 + j)}, j < s;   m_{s,s} = 1 - sum_{j<s} m_{s,j}

    since those s - j who stay free must escape each of the 1 + j infected, each infectious for one day
    (Bailey 1975, The Mathematical Theory of Infectious Diseases, section 14.3).

    Args:
        others: s, susceptible members at the start.
        escape: q, the probability that one infectious member does not infect another.
    """
    all_infected = [1.0]
    for s in range(1, others + 1):
        fewer = [comb(s, j) * all_infected[j] * escape ** ((s - j) * (1 + j)) for j in range(s)]
        all_infected.append(1 - sum(fewer))
    fewer = [comb(others, j) * all_infected[j] * escape ** ((others - j) * (1 + j)) for j in range(others)]
    return np.array([*fewer, all_infected[others]])
