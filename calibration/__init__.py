"""Calibration to data. This layer imports `lpm`, and nothing imports it back; it is empty in this version."""
