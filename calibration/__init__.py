"""Calibration to data: parameters, observation model, fits, posteriors, and checks of whether to believe them.

>>> from lpm.calibration import Parameter
>>> Parameter("transmission", ("transmission",), 0.1, 10).size
1
"""

from lpm.calibration.checks import Checks, check
from lpm.calibration.descent import adam
from lpm.calibration.ensemble import Ensemble, assimilate, smooth
from lpm.calibration.fitting import coarse_to_fine, fit
from lpm.calibration.neural_fit import Neural, by_region, expected, neural
from lpm.calibration.observation import Stream, stream
from lpm.calibration.parameters import Parameter, Prior, to_params
from lpm.calibration.posterior import Predictive, coverage, draws, identified, intervals, predict
from lpm.calibration.problem import Problem
from lpm.calibration.profiles import Profile, profile
from lpm.calibration.recovery import Recovery, recover, recover_fit, recover_prior, synthetic
from lpm.calibration.regression import regress
from lpm.calibration.rejection import Rejection, reject
from lpm.calibration.sampling import Sample, sample
from lpm.calibration.task import Fit

__all__ = [
    "Checks",
    "Ensemble",
    "Fit",
    "Neural",
    "Parameter",
    "Predictive",
    "Prior",
    "Problem",
    "Profile",
    "Recovery",
    "Rejection",
    "Sample",
    "Stream",
    "adam",
    "assimilate",
    "by_region",
    "check",
    "coarse_to_fine",
    "coverage",
    "draws",
    "expected",
    "fit",
    "identified",
    "intervals",
    "neural",
    "predict",
    "profile",
    "recover",
    "recover_fit",
    "recover_prior",
    "regress",
    "reject",
    "sample",
    "smooth",
    "stream",
    "synthetic",
    "to_params",
]
