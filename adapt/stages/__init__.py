"""What every method runs on: stages that are trained or computed, resumed, skipped and shared."""
