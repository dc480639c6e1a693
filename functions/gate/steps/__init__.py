"""What happens to a request and to its job, one file a step; the services put them in order."""
