"""Several worker processes under one that starts them, starts them again, and stops them."""
