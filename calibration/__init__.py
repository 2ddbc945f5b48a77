"""Calibration to data: parameters, observation model, fits, posteriors, and checks of whether to believe them.

>>> from lpm.calibration import Parameter
>>> Parameter("transmission", ("transmission",), 0.1, 10).size
1
"""

from lpm.calibration.descent import adam
from lpm.calibration.fitting import fit
from lpm.calibration.observation import Stream, stream
from lpm.calibration.parameters import Parameter, Prior, to_params
from lpm.calibration.posterior import coverage, draws, identified, intervals, predict
from lpm.calibration.problem import Problem
from lpm.calibration.profiles import Profile, profile
from lpm.calibration.recovery import Recovery, recover, recover_fit, synthetic
from lpm.calibration.rejection import Rejection, reject
from lpm.calibration.task import Fit

__all__ = [
    "Fit",
    "Parameter",
    "Prior",
    "Problem",
    "Profile",
    "Recovery",
    "Rejection",
    "Stream",
    "adam",
    "coverage",
    "draws",
    "fit",
    "identified",
    "intervals",
    "predict",
    "profile",
    "recover",
    "recover_fit",
    "reject",
    "stream",
    "synthetic",
    "to_params",
]
