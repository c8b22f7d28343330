"""What commands print of batches for people: submissions, dry runs, held jobs."""
