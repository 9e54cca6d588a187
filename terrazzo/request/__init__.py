"""One language for what users ask: the table of parameters, and the one parser that every door uses."""
