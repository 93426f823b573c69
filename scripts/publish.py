"""`python scripts/publish.py model|dataset|space USER/NAME FOLDER`: the same code as `sketch-colorizer publish`."""

from sketch_colorizer.publish_cli import app

if __name__ == "__main__":
    app()
