"""What tools are given by the program that runs them."""
