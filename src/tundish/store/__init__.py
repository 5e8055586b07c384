"""What an operator adds at run time, in SQL."""
