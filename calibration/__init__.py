"""Calibration: parameters, losses, estimators, fits and posteriors. This layer imports `lpm`; nothing imports it back."""
