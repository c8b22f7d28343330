"""Settings, and the configuration of Celery, logging and Sentry that is derived from them."""
