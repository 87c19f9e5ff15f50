"""Turns documents into training data of the right difficulty, and measures what a model learns from it.

autodata COMMAND …                        # the same as `python -m autodata COMMAND …`
autodata COMMAND --help                   # what a command does and which arguments it takes
autodata completion bash                  # a script that completes commands and files; also zsh
"""

import difflib
import importlib
import importlib.metadata
import sys

from autodata import command
from autodata.types import WrongCall

# Every command in the order of the chain: its name, the module whose `main` it is, and what it does.
COMMANDS = {
    "From texts to documents": [
        ("download", "autodata.corpora.download", "download data sets of Semantic Scholar"),
        ("hub", "autodata.corpora.hub", "download data sets of the Hugging Face Hub"),
        ("ingest", "autodata.corpora.ingest", "turn the files of a corpus into clean documents"),
    ],
    "Your own domain": [
        ("new-domain", "autodata.domains.new", "write the folder of a new domain, which runs at once"),
        ("show-prompt", "autodata.domains.show_prompt", "print the prompts of a document without asking a model"),
        ("scripted", "autodata.serving.scripted", "answer every role with made-up replies, to try things out"),
    ],
    "Before a run": [
        (
            "recipes",
            "autodata.domains.copy_recipes",
            "write the recipes into this folder, to read and change them",
        ),
        ("config", "autodata.config", "print every value of a recipe, with the line that set it"),
        ("doctor", "autodata.doctor.examine", "check what would go wrong before it costs anything"),
        ("plan", "autodata.plan.plan", "estimate tokens, GPU memory, hours and money"),
        ("servers", "autodata.servers", "keep a recipe's vLLM servers up between commands"),
    ],
    "From documents to examples": [
        ("generate", "autodata.generate", "run every document through the loop"),
        ("merge", "autodata.merge", "join the shards of a run"),
        ("dataset", "autodata.dataset", "make a data set of what was accepted"),
        ("verify", "autodata.verify", "recompute every score and verdict of a data set"),
        ("judge-audit", "autodata.judge_audit.audit", "measure how far the judge can be relied on"),
    ],
    "Measure": [
        ("evaluate", "autodata.eval.run", "evaluate a model on held-out examples and benchmarks"),
        ("tables", "autodata.eval.tables.write", "write the paper's tables from finished runs"),
        ("truncation", "autodata.eval.truncation", "measure what answers lose that are cut off (Table 8)"),
        ("attribution", "autodata.eval.attribution", "explain why a trained model answers better (Table 9)"),
        ("question-types", "autodata.eval.question_types", "sort questions into types (Table 11)"),
        ("study", "autodata.eval.study.write", "compare arms that were trained with several seeds"),
        ("remeasure", "autodata.data.remeasure", "say which rows still teach another student, or the trained one"),
    ],
    "Evolve the prompts": [
        ("optimize", "autodata.meta.optimize", "evolve the prompts of a domain (paper Sec. 4)"),
        ("ablate", "autodata.meta.ablate", "measure what each accepted edit of a prompt is worth"),
    ],
    "Watch and explain": [
        ("status", "autodata.status", "show how far runs are, from any machine"),
        ("report", "autodata.report.index", "write the page that explains a run"),
        ("journal", "autodata.journal.actions", "count, export, import, delete or repair stored replies"),
    ],
    "Pass on": [
        ("reproduce", "autodata.reproduce.reproduce", "make a table of the paper, from the corpus on"),
        ("replay", "autodata.replay.replay", "make published runs again without any model"),
        ("export", "autodata.export", "write a data set for other trainers"),
        ("publish", "autodata.publish", "make a pack of runs, or upload one to the Hugging Face Hub"),
    ],
}
MODULES = {name: module for group in COMMANDS.values() for name, module, _ in group}
_COMPLETIONS = {
    "bash": """_autodata() {
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "%s" -- "${COMP_WORDS[1]}"))
    fi
}
complete -o default -F _autodata autodata""",
    # As a file of fpath, zsh runs it to complete a word; as a sourced script, it only registers the function.
    "zsh": """#compdef autodata
_autodata() {
    _arguments '1:command:(%s)' '*:file:_files'
}
if [ "$funcstack[1]" = "_autodata" ]; then _autodata "$@"; else compdef _autodata autodata; fi""",
}


def list_commands() -> str:
    """Write one line for each command, by groups."""
    lines = []
    for title, group in COMMANDS.items():
        lines += [f"{title}:", *(f"  {name:<16}{what}" for name, _, what in group), ""]
    return "\n".join([*lines, "To train on the examples: accelerate launch -m autodata.training.grpo RECIPE"])


def find_module(name: str) -> str:
    """Return the module of a command. Raises WrongCall that names the nearest command."""
    if name not in MODULES:
        near = difflib.get_close_matches(name, MODULES, 1)
        hint = f"did you mean {near[0]}?" if near else "`autodata --help` lists all, and says how to train"
        raise WrongCall(f"autodata {name}: no such command; {hint}")
    return MODULES[name]


def write_completion(shell: str) -> str:
    """Write the script that completes commands and files in a shell. Raises WrongCall."""
    if shell not in _COMPLETIONS:
        raise WrongCall(f"autodata completion {shell}: choose one of {', '.join(_COMPLETIONS)}")
    return _COMPLETIONS[shell] % " ".join(MODULES)


def read_version() -> str:
    """Return the version of the installed distribution; of a checkout that is not installed, say so."""
    try:
        return importlib.metadata.version(command.DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.epilog = list_commands()
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="one of the commands below")
    parser.add_argument("--version", action="version", version=f"autodata {read_version()}")
    # The rest belongs to the command, whose own parser reads it.
    name, rest = parser.parse_args(sys.argv[1:2]).command, sys.argv[2:]
    if name is None:
        parser.print_help()
        return
    if name == "completion":
        print(write_completion(rest[0] if rest else "bash"))
        return
    module = importlib.import_module(find_module(name))
    sys.argv = [f"autodata {name}", *rest]
    module.main()


if __name__ == "__main__":
    main()
