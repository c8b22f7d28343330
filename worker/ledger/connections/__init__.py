"""Connections to Redis: clients, time-outs, outages, and replicas that must confirm."""
