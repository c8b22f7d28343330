"""What the options of a batch say: aspect ratios and the time of its start."""
