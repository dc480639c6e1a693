"""The HTTP front: routes, exchanges, the door that opens and closes, and jobs that outlive their request."""
