"""How good rankings are: cross-validation, calibration, agreement, reliability, comparison design."""
