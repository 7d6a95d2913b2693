"""``python -m sae.cli``."""

from sae.cli.application import main

if __name__ == "__main__":  # workers of a production import this file too
    main()
