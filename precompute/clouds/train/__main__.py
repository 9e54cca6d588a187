"""`python -m precompute.clouds.train` is `terrazzo train`."""

from precompute.clouds.train.command import train

if __name__ == "__main__":
    train()
