"""What measurements print: goals, and plots."""
