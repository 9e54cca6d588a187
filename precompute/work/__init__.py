"""Runs the steps: executors, the writer's lease, progress, metrics."""
