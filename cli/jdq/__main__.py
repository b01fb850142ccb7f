"""``python -m jdq``: the `jdq` command, if its script is not on the PATH."""

from jdq.cli.main import main

if __name__ == "__main__":
    main()
