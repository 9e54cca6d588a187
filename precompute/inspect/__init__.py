"""Shows what is in a store: figures for the terminal, pictures for the eye."""
