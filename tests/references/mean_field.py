"""Well-mixed epidemics in discrete days: what many agents tend to, and how far few of them stray from it.

With n agents, fractions x of them in each stage follow x_{t+1} = f(x_t) as n grows, and n^(1/2) times the deviation
from it is Gaussian with the covariance V_{t+1} = J V_t J' + Q: J the Jacobian of f, Q the covariance of one day's
binomial draws (Kurtz 1971, J. Appl. Probab. 8; for discrete time Buckley & Pollett 2010, Probab. Surv. 7).
"""

from collections.abc import Callable

import numpy as np


def sir(transmission: float, infectious_days: float, initial: float, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractions (S, I) after each day, (days, 2), and n times their covariance, (days, 2, 2).

    S' = S - S p, I' = I + S p - I / D, p = 1 - exp(-transmission I): both events look at the same morning.
    """
    leave = 1 / infectious_days
    x, covariance = np.array([1 - initial, initial]), np.zeros((2, 2))
    means, covariances = [], []
    for _ in range(days):
        infected, slope, noise = _infection(x, np.array([1]), 1, transmission)
        jacobian = np.eye(2) + slope - np.diag([0, leave])
        noise = noise + np.diag([0, x[1] * leave * (1 - leave)])
        x = x + infected - np.array([0, x[1] * leave])
        covariance = jacobian @ covariance @ jacobian.T + noise
        means.append(x)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)


def seir(
    transmission: float, latent: tuple[float, int], infectious: tuple[float, int], initial: float, days: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fractions (S, each phase of E, each phase of I) after each day, and n times their covariance.

    Each day first the phases go on, each with probability phases / mean; then all who are now infectious infect.

    Args:
        transmission: 1/day.
        latent, infectious: mean in days and number of phases.
        initial: fraction in the first infectious phase at the start.
        days: how many.
    """
    (latent_mean, latent_phases), (infectious_mean, infectious_phases) = latent, infectious
    size = 1 + latent_phases + infectious_phases
    leave = np.array(
        [0.0]
        + [latent_phases / latent_mean] * latent_phases
        + [infectious_phases / infectious_mean] * infectious_phases
    )
    moves = np.diag(np.ones(size - 1), -1) - np.eye(size)  # column i: what one agent's leaving of phase i changes
    infecting = np.arange(1 + latent_phases, size)
    progress = np.eye(size) + moves * leave
    x, covariance = np.zeros(size), np.zeros((size, size))
    x[0], x[infecting[0]] = 1 - initial, initial
    means, covariances = [], []
    for _ in range(days):
        noise = (moves * (x * leave * (1 - leave))) @ moves.T
        x, covariance = progress @ x, progress @ covariance @ progress.T + noise
        infected, slope, noise = _infection(x, infecting, 1, transmission)
        jacobian = np.eye(size) + slope
        x, covariance = x + infected, jacobian @ covariance @ jacobian.T + noise
        means.append(x)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)


def _infection(x: np.ndarray, infecting: np.ndarray, into: int, transmission: float):
    """The change of one day's infections, its Jacobian and its noise."""
    escape = np.exp(-transmission * x[infecting].sum())
    move = np.zeros(len(x))
    move[0], move[into] = -1, 1
    gradient = np.zeros(len(x))
    gradient[0] = 1 - escape
    gradient[infecting] += transmission * x[0] * escape
    return move * x[0] * (1 - escape), np.outer(move, gradient), np.outer(move, move) * x[0] * escape * (1 - escape)


Rates = Callable[[float, np.ndarray], np.ndarray]


def sir_rates(transmission: float, infectious_days: float) -> Rates:
    """dS/dt = -b S I, dI/dt = b S I - I / D, as scipy's solve_ivp asks for it (Kermack & McKendrick 1927)."""

    def rates(_: float, x: np.ndarray) -> np.ndarray:
        new = transmission * x[0] * x[1]
        return np.array([-new, new - x[1] / infectious_days])

    return rates


def seir_rates(transmission: float, latent: tuple[float, int], infectious: tuple[float, int]) -> Rates:
    """The same for `seir`: each phase is left with the rate phases / mean (Lloyd 2001, Theor. Popul. Biol. 60)."""
    leave = np.array([0.0] + [latent[1] / latent[0]] * latent[1] + [infectious[1] / infectious[0]] * infectious[1])

    def rates(_: float, x: np.ndarray) -> np.ndarray:
        new = transmission * x[0] * x[1 + latent[1] :].sum()
        left = leave * x
        return np.concatenate([[-new], [new], left[1:-1]]) - left

    return rates
