"""The images as they are shipped: built from Debian's packages, and run by a container engine as compose.yaml says."""
