"""Settings, and what is derived from them. Depends on nothing else of the project."""
