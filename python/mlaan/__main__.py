"""`python -m mlaan` is the command `mlaan`."""
from ._script import main

if __name__ == "__main__":
    main()
