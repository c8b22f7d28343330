"""One step of one job: what a stage works with, how it ends, and the runner around it."""
