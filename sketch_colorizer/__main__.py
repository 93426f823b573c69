"""`python -m sketch_colorizer` is the command `sketch-colorizer`."""

from .cli import main

main()
