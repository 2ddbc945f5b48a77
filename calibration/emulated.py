"""The posterior that a response surface leaves: its mode, draws, and what they predict.

With g(m) and v the surface's expected counts and error at z, C the epidemic's chance, e = 1 if the data are one draw of
the epidemic and 0 if they are fitted as if they were its mean, r the deviance residuals,

    log p(z | y) = -r' S^-1 r / 2 - log det S / 2 + log p(z),    S = I + (e + v(z)) C

Only where the surface can be trusted: where the error of a count, v times the mean of C's diagonal, is below that of
the data themselves. Draws are those of walkers, and need not be normal.

What is predicted is conditional on the data. The data's own epidemic was early or late, and what came later is so too:
of (e + v) C that part is drawn which the residuals leave open,

    x = x_0 + (e + v) C[:, seen] S^-1 (r - x_0[seen] - n_0),    x_0 ~ N(0, (e + v) C),    n_0 ~ N(0, I)

and g(m) + x are the expected counts, of weeks seen and of those yet to come. (Conditioning by kriging: Journel &
Huijbregts 1978, Mining Geostatistics, chapter 7.)
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration import likelihoods, objective
from lpm.calibration.gauss_newton import System
from lpm.calibration.objective import Moments, Weights
from lpm.calibration.posterior import Predictive, observed
from lpm.calibration.priors import log_prior
from lpm.calibration.problem import of_streams
from lpm.calibration.response import Surface, residuals
from lpm.calibration.sampling import Sample, r_hat
from lpm.calibration.tangents import of_each
from lpm.calibration.task import Fit
from lpm.calibration.walkers import walk

TRUSTED = 1.0  # error of the surface, over the data's own, both as variances
TURNS, STEPS = 60, 8  # of Gauss and Newton, at most, and halvings of each
SHORT = 1e-4  # squared step, in posterior deviations, at which they end
WALKERS = 64  # at least
SOON, LONG = 20, 100  # steps of walkers for each parameter: for a round's points, and until they have forgotten all
KEPT = 20  # places kept of each walker


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """The density above.

    Args:
        surface: of the counts.
        covariance: (n, n) C.
        variances, directions: eigenvalues and eigenvectors of C of the good counts.
        trusted: largest v.
    """

    surface: Surface
    covariance: np.ndarray
    variances: np.ndarray
    directions: np.ndarray
    trusted: float

    @property
    def share(self) -> float:
        """The e above."""
        return float(self.surface.problem.epidemic_chance)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Of (draws, size) points, (draws,) up to a constant; -inf where the surface is not to be trusted."""
        on_scale, error = self.surface.at(z)
        r = self.residuals(on_scale) @ self.directions
        spread = 1 + (self.share + error)[:, None] * self.variances
        found = -0.5 * (r**2 / spread + np.log(spread)).sum(1) + self.log_prior(z)
        return np.where((error <= self.trusted) & np.isfinite(found), found, -np.inf)

    def log_prior(self, z: np.ndarray) -> np.ndarray:
        """Of (draws, size) points."""
        return np.asarray(_log_prior(self.surface.problem.parameters, jnp.asarray(z, jnp.float32)), np.float64)

    def residuals(self, on_scale: np.ndarray) -> np.ndarray:
        """Deviance residuals of the good counts, (draws, good), about (draws, n) expected ones on the scale g."""
        problem = self.surface.problem
        means = of_each(likelihoods.unstabilised, problem, self.surface.dispersions, on_scale)
        return residuals(problem, self.surface.dispersions, means)[:, ~np.isnan(problem.counts)]

    def weights(self, z: np.ndarray) -> Weights:
        """Of the data about z, as `lpm.calibration.objective` has them."""
        spread = 1 + (self.share + self.surface.at(z[None])[1]) * self.variances
        sigma = (self.directions * spread) @ self.directions.T
        return Weights(self.surface.dispersions, ~np.isnan(self.surface.problem.counts), np.linalg.cholesky(sigma))

    def moments(self, z: np.ndarray) -> Moments:
        """Expected counts at z, with the chance of the simulations about them."""
        problem, dispersions = self.surface.problem, self.surface.dispersions
        mean = of_each(likelihoods.unstabilised, problem, dispersions, self.surface.at(z[None])[0])[0]
        value, vector = np.linalg.eigh(self.covariance)
        samples = (vector * np.sqrt(np.maximum(value, 0) * (len(value) - 1))).T  # whose covariance is C
        return Moments(np.ones(len(samples), bool), mean, np.ones_like(samples) / len(samples), samples)

    def jacobian(self, z: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """dm / dz, (n, size), at expected counts m."""
        problem, dispersions = self.surface.problem, self.surface.dispersions
        return self.surface.slope(z) / of_each(likelihoods.stabilised_slope, problem, dispersions, mean)[:, None]

    def system(self, z: np.ndarray) -> System:
        """Of Gauss and Newton at z; its chance is what the surface's error does to a step."""
        problem, weights, found = self.surface.problem, self.weights(z), self.moments(z)
        r, rows = objective.linearised(problem.streams, weights, found, self.jacobian(z, found.mean))
        minus_log, slope, curvature = objective.prior(problem.parameters, z)
        none = np.zeros((len(z), len(z)))
        own = System(0.5 * float(r @ r) + minus_log, rows.T @ r + slope, rows.T @ rows, curvature, none, none)
        error = self.surface.at(z[None])[1] * self.variances
        moved = np.linalg.solve(own.both, np.linalg.solve(weights.lower.T, rows).T @ self.directions)
        return dataclasses.replace(own, chance=(moved * error) @ moved.T)

    def value(self, z: np.ndarray, weights: Weights) -> float:
        """Misfit and minus the log prior at z, by the weights of another point; inf where not to be trusted."""
        on_scale, error = self.surface.at(z[None])
        r = np.linalg.solve(weights.lower, self.residuals(on_scale)[0])
        found = 0.5 * float(r @ r) - float(self.log_prior(z[None])[0])
        return found if error[0] <= self.trusted else np.inf


_log_prior = jax.jit(jax.vmap(log_prior, (None, 0)), static_argnums=0)


def posterior_on(surface: Surface, covariance: np.ndarray | None = None) -> Posterior:
    """The posterior on a surface, with its own `chance` for C if nothing is given."""
    good = ~np.isnan(surface.problem.counts)
    covariance = surface.chance if covariance is None else covariance
    variances, directions = np.linalg.eigh(covariance[np.ix_(good, good)])
    variances = np.maximum(variances, 0)
    own = float(surface.problem.epidemic_chance) + 1 / max(float(variances.mean()), 1e-12)
    least = float(np.quantile(surface.at(surface.simulated)[1], 0.25))
    return Posterior(surface, covariance, variances, directions, max(TRUSTED * own, 2 * least))


def dispersions(posterior: Posterior, z: np.ndarray, share_of_old: float) -> tuple[float, ...]:
    """Of each stream where none is fixed: between the surface's own and what the residuals at z ask for.

    Of n counts those parameters take away n tr(J (J + P)^-1), J the information of the data and P the prior's.
    """
    surface, system = posterior.surface, posterior.system(z)
    problem, at, result = surface.problem, 0, []
    means = of_streams(problem.streams, posterior.moments(z).mean)
    scale = posterior.share + float(surface.at(z[None])[1][0])
    total = int((~np.isnan(problem.counts)).sum())
    free = 1 - float(np.trace(np.linalg.solve(system.both, system.information))) / total
    for each, k, mean in zip(problem.streams, surface.dispersions, means, strict=True):
        own = slice(at, at := at + each.values.size)
        if each.dispersion is not None or each.likelihood == "poisson":
            result.append(k)
            continue
        slope = likelihoods.stabilised_slope(each.likelihood, mean.ravel(), k)
        extra = scale * posterior.covariance[own, own] / np.outer(slope, slope)
        freedom = max(1.0, int((~np.isnan(each.values)).sum()) * free)
        wanted = likelihoods.dispersion_for(each.likelihood, each.values.ravel(), mean.ravel(), extra, freedom)
        result.append(float(k**share_of_old * wanted ** (1 - share_of_old)))
    return tuple(result)


def mode(posterior: Posterior, first: np.ndarray) -> np.ndarray:
    """Its mode, (size,), by Gauss and Newton from a point that is to be trusted, as far as it may be trusted."""
    z, damping = first, 1e-3
    for _ in range(TURNS):
        here, weights = posterior.system(z), posterior.weights(z)
        value = posterior.value(z, weights)
        for _ in range(STEPS):
            shape = here.both + damping * np.diag(np.diag(here.both))
            step = -np.linalg.solve(shape, here.gradient)
            if posterior.value(z + step, weights) < value:
                z, damping = z + step, damping / 5
                break
            damping = max(5 * damping, 1e-3)
        else:
            return z
        if float(-here.gradient @ step) < SHORT:
            return z
    return z


def draw(
    posterior: Posterior, first: np.ndarray, seed: int, kept: int = 1, per_size: int = SOON
) -> tuple[np.ndarray, np.ndarray, float]:
    """Walkers over the posterior, from a mode: (kept, walkers, size), log densities, and the share of moves taken.

    They take `per_size` steps for each parameter before the first place that is kept, and as many between it and the
    last.
    """
    system = posterior.system(first)
    walkers = max(WALKERS, 4 * len(first))
    root = np.linalg.cholesky(np.linalg.inv(system.both))
    away = np.random.default_rng([seed, 29]).normal(size=(walkers, len(first))) @ root.T
    begin = first + away
    for _ in range(60):
        outside = ~np.isfinite(posterior.log_density(begin))
        if not outside.any():
            break
        away[outside] /= 2
        begin = first + away
    steps = per_size * len(first)
    begin = walk(posterior.log_density, begin, steps, seed, steps)[0][-1]
    thin = max(1, steps // kept)
    return walk(posterior.log_density, begin, thin * kept, seed + 1, thin)


def sample(fit: Fit, draws: int = 1000, seed: int = 0) -> Sample:
    """Draws from the posterior of a fit by regression, (1, draws, size): places of all walkers. No simulations.

    Raises:
        ValueError: for a fit by another method.
    """
    if fit.surface is None:
        raise ValueError(f"emulated.sample: asked for a fit by regression, got one by {fit.method}")
    z, logs, taken = draw(posterior_on(fit.surface), fit.z, seed, KEPT, LONG)
    agree = r_hat(z.swapaxes(0, 1))
    chosen = np.random.default_rng([seed, 37]).choice(logs.size, draws, replace=draws > logs.size)
    z, logs = z.reshape(-1, z.shape[-1])[chosen][None], logs.reshape(-1)[chosen][None]
    acceptance, none = np.full(logs.shape, taken), np.zeros(logs.shape, bool)
    return Sample(fit.problem.names, z, fit.problem.values(z), logs, acceptance, none, agree, 0, "surface")


def predict(fit: Fit, z: np.ndarray, seed: int = 0) -> Predictive:
    """What (draws, size) points predict, of the data's own epidemic."""
    assert fit.surface is not None
    posterior = posterior_on(fit.surface, fit.surface.sampled_chance)
    generator = np.random.default_rng([seed, 31])
    problem, good = fit.problem, ~np.isnan(fit.problem.counts)
    on_scale, error = fit.surface.at(z)
    share = posterior.share + error
    # The surface is less sure of weeks yet to come, which more parameters change.
    of_each_count = np.where(good, share[:, None], posterior.share + fit.surface.errors(z))
    value, vector = np.linalg.eigh(posterior.covariance)
    drawn = generator.normal(size=on_scale.shape) * np.sqrt(np.maximum(value, 0)) @ vector.T
    drawn = np.sqrt(of_each_count) * drawn
    left = posterior.residuals(on_scale) - drawn[:, good] - generator.normal(size=(len(z), int(good.sum())))
    left = left @ posterior.directions / (1 + share[:, None] * posterior.variances) @ posterior.directions.T
    drawn = drawn + np.sqrt(share[:, None] * of_each_count) * (left @ posterior.covariance[good])
    expected = of_each(likelihoods.unstabilised, problem, fit.surface.dispersions, on_scale + drawn)
    counts = observed(problem, fit.weights.dispersions, expected, np.random.default_rng(seed + 1))
    return Predictive(z, expected, counts, fit.died_out)
