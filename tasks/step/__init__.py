"""A step of a job: the context of a stage, the commits that end it, and the runner."""
