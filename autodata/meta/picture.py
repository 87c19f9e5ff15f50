"""Where the best prompt set comes from: members by iteration and pass rate, lines from parent to child."""

from pathlib import Path

from autodata.meta.population import Population

_OTHERS, _BEST = "#9db4c0", "#d1495b"


def draw_lineage(population: Population, path: Path) -> None:
    """PNG. Members without a measured rate are left out; the best one's ancestors stand out."""
    from matplotlib.figure import Figure  # slow to import, and drawn once in the end

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    members, line = population.members, {member.id for member in population.trace(population.best().id)}
    for member in members.values():
        if member.rate is None:
            continue
        colour = _BEST if member.id in line else _OTHERS
        parent = members[member.parent] if member.parent is not None else None
        if parent and parent.rate is not None:
            axes.plot([parent.id, member.id], [100 * parent.rate, 100 * member.rate], color=colour, zorder=1)
        axes.scatter(member.id, 100 * member.rate, color=colour, zorder=2)
        axes.annotate(str(member.id), (member.id, 100 * member.rate), textcoords="offset points", xytext=(0, 6))
    axes.set(xlabel="iteration", ylabel="validation pass rate, %", ylim=(-2, 105), title="accepted prompt sets")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
