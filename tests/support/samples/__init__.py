"""Sample data of tests."""
