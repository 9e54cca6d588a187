"""The commands of this room; they import what they run when they run."""
