"""Make published runs again from their stored replies: trajectories, data sets, evaluations and tables.

python -m autodata.replay PACK.zip [FOLDER]

No model is asked and none is needed, no key and no GPU. Every file that comes out is compared with the published one.
The same command again goes on where it stopped. `autodata.publish RUNS --pack PACK.zip` makes a pack.
"""

from pathlib import Path

from autodata import command
from autodata.replay.pack import Pack, PackError
from autodata.replay.play import Made, find_different, hash_records, play
from autodata.replay.unpack import unpack
from autodata.stats.writing import write_count


def describe(made: Made) -> str:
    """Write one line about a step."""
    replies = f"{write_count(made.replies, 'stored reply', 'stored replies')}, " if made.replies else ""
    equal = write_count(len(made.outputs), "equal file")
    what = _tell_different(made.different) or equal
    return f"{made.step.name:<24} {made.step.kind:<10} {replies}{what} ({made.seconds:.1f} s)"


def _tell_different(files: list[str]) -> str:
    return f"DIFFERENT: {', '.join(files)}" if files else ""


def replay(file: Path, folder: Path) -> tuple[Pack, int]:
    """Replay a pack into a folder and print what came out; return how many files could not be compared.

    Raises PackError if anything differs, or if the pack says of nothing what must come out.
    """
    pack = unpack(file, folder)
    records = hash_records(pack.kept, [step.name for step in pack.steps], folder)
    different, uncompared = find_different(pack.records, records), len(records.keys() - pack.records.keys())
    for name, reason in pack.kept.items():
        altered = [file for file in different if file.startswith(f"{name}/")]
        print(f"{name:<24} {'kept':<10} {_tell_different(altered) or f'as published: {reason}'}")
    for made in play(pack, folder):
        print(describe(made), flush=True)
        different += made.different
        uncompared += len(made.outputs.keys() - made.step.outputs.keys())
    _require_equal(pack, different)
    return pack, uncompared


def _require_equal(pack: Pack, different: list[str]) -> None:
    """Raise PackError if a file differs, or if a step has no file to compare."""
    if different:
        made_by = f"; the pack was made by commit {pack.git_commit}" if pack.git_commit else ""
        found = f"{write_count(len(different), 'file')} came out differently{made_by}"
        raise PackError(f"{found}: {', '.join(different[:5])}")
    if empty := [step.name for step in pack.steps if not step.outputs]:
        raise PackError(f"nothing was compared of {', '.join(empty[:5])}: the pack does not say what must come out")
    if not pack.steps:
        raise PackError("nothing was compared: the pack has no run to make again")


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("pack", type=Path, metavar="PACK.zip", help="a file that `autodata.publish --pack` made")
    folder_help = "where to make the runs; default runs/replay/<name of the pack>"
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help=folder_help)
    options = parser.parse_args()
    folder = options.folder or Path("runs/replay") / options.pack.stem
    pack, uncompared = replay(options.pack, folder)
    kept = f"{uncompared} kept {'file was' if uncompared == 1 else 'files were'} not compared"
    but = f", but {kept}: the pack has no hash for it" if uncompared else ""
    steps = write_count(len(pack.steps), "step")
    print(f"all files are equal to the published ones{but}; {steps} made again in {folder}")


if __name__ == "__main__":
    main()
