"""``python -m percyd``."""

from percyd.cli.main import main

if __name__ == "__main__":
    main()
