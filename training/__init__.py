"""What is trained, from which data, and how."""
