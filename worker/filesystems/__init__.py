"""Connections to file systems over the network, for the stores and the payment journal."""
