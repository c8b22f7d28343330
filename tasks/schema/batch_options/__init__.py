"""Options of a batch: its aspect ratios and its start time."""
