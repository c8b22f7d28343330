"""Limits of this machine: native threads, memory for decoding, scratch folders."""
