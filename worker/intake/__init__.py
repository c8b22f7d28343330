"""Submissions by message: a reliable queue of `tasks.submit`, apart from Celery's own consumer.

The message is all that there is of such a job until its record is written, so it is acknowledged
only after that, and taken again within seconds when its worker dies.
"""
