"""What the Makefile runs to set up and to check this repository."""
