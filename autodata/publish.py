"""Publish a finished data set, trained model or evaluation on the Hugging Face Hub. No other command uploads.

python -m autodata.publish RUN --to owner/name [--private] [--dry-run] [--allow-unknown-licence]
python -m autodata.publish RUNS --pack PACK.zip [--tables RECIPES]    # one file from which anyone can make them again
python -m autodata.publish RUNS --pack PACK.zip --register RUNS.md --title TEXT --hardware TEXT

The files to upload are written to RUN/publish, and the repository becomes a mirror of that folder. --dry-run stops
before the upload, or before the pack is written. The token comes from HF_TOKEN or `hf auth login`. --pack uploads
nothing: it writes the stored replies, recipes and documents of all finished runs below a folder into one file, and
proves with `autodata.replay` that the same comes out.
"""

import argparse
import os
import re
import tempfile
from contextlib import nullcontext
from pathlib import Path

from autodata import command
from autodata.data.release import ReleaseKind, find_leaks, stage
from autodata.eval.tables.write import find_recipes
from autodata.replay.make import make_pack
from autodata.replay.pack import Pack
from autodata.replay.play import Made
from autodata.replay.register import register, split
from autodata.replay.replay import describe
from autodata.run.locks import fresh_folder
from autodata.run.records import RunError
from autodata.stats.writing import write_count
from autodata.types import WrongCall

_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_FILES_OF_HUB = {".gitattributes", "README.md"}  # the Hub itself may have made these


def prepare(run: Path, allow_unknown: bool) -> tuple[Path, ReleaseKind]:
    """Prepare the folder to publish and check it for leaks. Raises RunError, RecipeError."""
    with fresh_folder(run, "publish") as target:
        kind = stage(run, target, allow_unknown)
        if leaks := find_leaks(target, run):
            raise RunError(
                f"{target} was not published, because these files hold a key or a path of this machine:\n  "
                + "\n  ".join(leaks[:20])
            )
    return target, kind


def show(folder: Path) -> None:
    """Print every file with its size."""
    sizes = {file.relative_to(folder): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
    for name, size in sizes.items():
        print(f"{size:>12,}  {name}")
    print(f"{sum(sizes.values()):>12,}  bytes in {write_count(len(sizes), 'file')}")


def upload(folder: Path, repo: str, kind: ReleaseKind, private: bool) -> str:
    """Make the repository a mirror of a folder; files that it has already are not sent again. Raises RunError."""
    import httpx
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if get_token() is None:
        raise RunError("no token for the Hub: set HF_TOKEN or run `hf auth login`; --dry-run needs no token")
    hub = HfApi()
    try:
        _require_fitting(hub, repo, kind)
        hub.create_repo(repo, repo_type=kind.repo, private=private, exist_ok=True)
        what = {"repo_id": repo, "repo_type": kind.repo, "folder_path": folder, "delete_patterns": "*"}
        return hub.upload_folder(**what, commit_message="Published by Autodata").commit_url
    except HfHubHTTPError as error:
        raise RunError(f"{repo}: {_explain(error)}") from error
    except HFValidationError as error:
        raise RunError(f"--to {repo}: {error}") from error
    except (httpx.HTTPError, OSError) as error:
        raise RunError(
            f"{hub.endpoint} cannot be reached ({type(error).__name__}); nothing is lost, run the same command again"
        ) from error


def _require_fitting(hub, repo: str, kind: ReleaseKind) -> None:
    """Raise RunError if the repository is of another kind or holds files that this command did not upload."""
    other = "model" if kind.repo == "dataset" else "dataset"
    if hub.repo_exists(repo, repo_type=other):
        raise RunError(f"{repo} is a {other} on the Hub, but this run is a {kind.repo}; choose another --to")
    if not hub.repo_exists(repo, repo_type=kind.repo):
        return
    files = set(hub.list_repo_files(repo, repo_type=kind.repo)) - _FILES_OF_HUB
    if files and not {"manifest.json", "CITATION.cff"} <= files:
        raise RunError(f"{repo} holds files that this command did not upload ({min(files)}); choose another --to")


def _explain(error) -> str:
    status = error.response.status_code
    if status in (401, 403):
        return f"the Hub refuses the token ({status}); it needs write access to this repository"
    return f"the Hub answered {status}: {error.server_message or 'no message'}; run the same command again"


def _read_arguments() -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run of a data set, training or evaluation")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--to", metavar="owner/name", help="the repository on the Hub")
    goal.add_argument("--pack", type=Path, metavar="PACK.zip", help="the pack to make of all runs below RUN")
    tables_help = "recipes of tables: a file or a folder"
    parser.add_argument("--tables", type=Path, metavar="RECIPES", help=tables_help)
    parser.add_argument("--register", type=Path, metavar="RUNS.md", help="the list of results that gets a row")
    parser.add_argument("--title", metavar="TEXT", help="for --register: what the runs are")
    parser.add_argument("--hardware", metavar="TEXT", help="for --register: what they ran on")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--dry-run", action="store_true", help="stop before the upload, or before the pack is written")
    unknown_help = "publish even if the licence of a document is unknown"
    parser.add_argument("--allow-unknown-licence", action="store_true", help=unknown_help)
    options = parser.parse_args()
    if (options.tables or options.register) and not options.pack:
        parser.error("--tables and --register belong to a pack; add --pack PACK.zip")
    if options.pack and options.private:
        parser.error("--private belongs to --to: a pack is a file, and nothing is uploaded")
    if options.register and not (options.title and options.hardware):
        parser.error("--register: add --title and --hardware")
    if options.to is not None and not _REPO.fullmatch(options.to):
        parser.error(f"--to {options.to}: the name of a repository has the form owner/name")
    return options


def _make_pack(options: argparse.Namespace) -> None:
    """Make a pack and say what it holds. Raises WrongCall, PackError, RunError."""
    if not options.run.is_dir() or not options.pack.absolute().parent.is_dir():
        raise WrongCall(f"{options.run} → {options.pack}: both the runs and the folder of the pack must be there")
    if options.pack.is_dir():
        raise WrongCall(f"--pack {options.pack}: this is a folder; name the file to make")
    if options.register:
        split(options.register)  # the replay takes minutes, so what cannot be written is said before
    recipes = find_recipes(options.tables) if options.tables else []
    with tempfile.TemporaryDirectory() if options.dry_run else nullcontext(options.pack.parent) as folder:
        file = Path(folder) / options.pack.name
        pack = make_pack(options.run, recipes, file, _tell, options.allow_unknown_licence)
        size = file.stat().st_size
    _describe_pack(pack)
    if options.register and not options.dry_run:
        register(options.register, options.title, options.hardware, options.run, (options.pack, pack))
    done = "; nothing was written, because of --dry-run" if options.dry_run else ""
    print(f"{options.pack}: {size:,} bytes; a replay gave the same{done}")


def _tell(made: Made) -> None:
    print(describe(made), flush=True)


def _describe_pack(pack: Pack) -> None:
    for name, reason in pack.kept.items():
        print(f"{name}: not made again, because {reason}; the pack holds its records")
    for name, reason in pack.left_out.items():
        advice = "set it in `sources` of the data set's recipe, or add --allow-unknown-licence if you may publish them"
        print(f"documents/{name}: left out, because {reason}; {advice}")


@command.report_errors()
def main() -> None:
    options = _read_arguments()
    if options.pack:
        return _make_pack(options)
    # Must happen before the Hub's client is imported: a publish command goes online even on a machine kept offline.
    is_offline = os.environ.pop("HF_HUB_OFFLINE", "0") not in ("", "0")
    folder, kind = prepare(options.run, options.allow_unknown_licence)
    show(folder)
    if options.dry_run:
        print(f"nothing was uploaded; without --dry-run, these files go to {options.to} as a {kind.repo}")
    else:
        if is_offline:
            print("HF_HUB_OFFLINE is set, but this command goes online anyway")
        print(upload(folder, options.to, kind, options.private))


if __name__ == "__main__":
    main()
