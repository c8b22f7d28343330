"""Job, batch and account records in Redis. Lua scripts alone change the records of jobs."""
