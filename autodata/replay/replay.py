"""Make published runs again from their stored replies: trajectories, data sets, evaluations and tables.

python -m autodata.replay PACK.zip [FOLDER]

No model is asked and none is needed, no key and no GPU. Every file that comes out is compared with the published one.
The same command again goes on where it stopped. `autodata.publish RUNS --pack PACK.zip` makes a pack.
"""

from pathlib import Path

from autodata import command
from autodata.replay.pack import Pack, PackError
from autodata.replay.play import Made, play
from autodata.replay.unpack import unpack
from autodata.stats.writing import write_count


def describe(made: Made) -> str:
    """Write one line about a step."""
    replies = f"{write_count(made.replies, 'stored reply', 'stored replies')}, " if made.replies else ""
    equal = write_count(len(made.outputs), "equal file")
    what = f"DIFFERENT: {', '.join(made.different)}" if made.different else equal
    return f"{made.step.name:<24} {made.step.kind:<10} {replies}{what} ({made.seconds:.1f} s)"


def replay(file: Path, folder: Path) -> Pack:
    """Replay a pack into a folder and print what came out. Raises PackError if anything differs."""
    pack, different = unpack(file, folder), []
    for name, reason in pack.kept.items():
        print(f"{name:<24} {'kept':<10} as published: {reason}")
    for made in play(pack, folder):
        print(describe(made), flush=True)
        different += made.different
    if different:
        made_by = f"; the pack was made by commit {pack.git_commit}" if pack.git_commit else ""
        raise PackError(f"{write_count(len(different), 'file')} came out differently{made_by}")
    return pack


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("pack", type=Path, metavar="PACK.zip", help="a file that `autodata.publish --pack` made")
    folder_help = "where to make the runs; default runs/replay/<name of the pack>"
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help=folder_help)
    options = parser.parse_args()
    folder = options.folder or Path("runs/replay") / options.pack.stem
    pack = replay(options.pack, folder)
    print(f"all files are equal to the published ones; {write_count(len(pack.steps), 'step')} made again in {folder}")


if __name__ == "__main__":
    main()
