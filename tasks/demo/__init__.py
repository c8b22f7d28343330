"""The demo: the whole service on one machine, for a few photos (``make run``)."""
