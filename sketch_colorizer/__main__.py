"""`python -m sketch_colorizer` is the command `sketch-colorizer`."""

from .cli import main

if __name__ == "__main__":  # and not in the worker processes, which run this file under another name
    main()
