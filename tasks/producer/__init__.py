"""The operations of callers on jobs: submit, follow, edit, redo, cancel, retry, release."""
