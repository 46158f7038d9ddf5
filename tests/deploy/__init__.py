"""What `deploy/` holds, run as processes."""
