"""`python -m whichland` and `torchrun -m whichland`."""

from whichland.cli.main import main

if __name__ == "__main__":
    main()
