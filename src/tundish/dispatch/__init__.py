"""The use case that ties the domain together: label, decide, try, fail over, settle."""
