"""The use case that ties the domain together: find the backend, generate, record what happened."""
