"""One step of one job: claim, work, commit."""
