"""Loads a dataset of the Hugging Face hub, or a local folder like one, into the cache of `datasets`.

``python -m jdq.worker.programs.load_dataset NAME[:CONFIG]`` prints the paths of its Arrow files as JSON.
"""

import click
import msgspec

from jdq.store.table import TableError
from jdq.worker.queue.exit_codes import exit_on_error


def arrow_files(wanted: str) -> list[str]:
    """The files of all splits, downloaded unless they are in the cache. Raises TableError."""
    import datasets

    name, _, config = wanted.partition(":")
    try:
        splits = datasets.load_dataset(name, config or None)
    # ValueError: several configurations; the others come from the hub, the network and the files.
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise TableError(f"cannot load the dataset {wanted} of the Hugging Face hub: {error}") from None
    return [file["filename"] for split in splits.values() for file in split.cache_files]


@click.command()
@click.argument("name")
@exit_on_error()
def main(name: str) -> None:
    """Print the Arrow files of the dataset NAME."""
    click.echo(msgspec.json.encode(arrow_files(name)))


if __name__ == "__main__":
    main()
