"""Yardsticks: what Terrazzo costs, measured against what others use."""
