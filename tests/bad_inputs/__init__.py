"""What hostile and clumsy users type, in tables: a command line, and the line that must follow."""
