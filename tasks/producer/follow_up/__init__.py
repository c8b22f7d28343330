"""What people say about a job: answers, uploads, and edits that become jobs of their own."""
