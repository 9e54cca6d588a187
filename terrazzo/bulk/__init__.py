"""What exports and statistics share: areas, windows, windowed reading, the lock of a folder of work."""
