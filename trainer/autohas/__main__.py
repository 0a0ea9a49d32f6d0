"""`python -m autohas`: the command `autohas`, for environments whose scripts are not on PATH."""

from autohas.command import main

if __name__ == "__main__":
    main()
