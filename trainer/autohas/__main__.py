"""`python -m autohas`: the command, where its script is not on PATH."""

from autohas.command import main

if __name__ == "__main__":
    main()
