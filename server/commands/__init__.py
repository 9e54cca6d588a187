"""The commands of the server; they import what they run when they run."""
