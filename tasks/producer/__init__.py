"""What a caller does with jobs: submit, follow, edit, redo, cancel, retry, release."""
