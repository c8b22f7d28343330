"""``python -m tasks.cli``."""

from tasks.cli import app

if __name__ == "__main__":
    app(prog_name="reelqueue")
