"""Submissions by message: a reliable queue of `tasks.submit`, apart from Celery's own consumer.

Until the record of such a job is written, only its message exists. So the message is acknowledged
after that, and delivered again within seconds if its worker dies before.
"""
