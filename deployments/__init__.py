"""What runs the flows as a service."""
