"""Shows the plan of a training: its weights, its hours and the memory of a GPU, part by part."""

from dataclasses import dataclass

from rich.table import Table

from autodata.plan.queues import show_endpoints
from autodata.plan.training.course import EVALUATION, Course
from autodata.plan.training.memory import Memory, estimate_memory, read_size
from autodata.plan.training.steps import STUDENT, Setting, count_parallel, is_apart
from autodata.plan.workload import PRIORS
from autodata.stats.writing import DASH, make_table, write_count, write_duration, write_percent

_GB = 1e9


@dataclass(frozen=True)
class TrainingPlan:
    """What one training takes."""

    setting: Setting
    course: Course
    origin: str  # source of lengths and hours
    examples: int | None  # to train on; None: not known on this machine

    @property
    def memory(self) -> Memory:
        return estimate_memory(self.setting.recipe, self.setting.shape, self.setting.processes)

    @property
    def trains_on_cpu(self) -> bool:
        return bool(self.setting.recipe.trainer.get("use_cpu"))

    @property
    def gpus(self) -> dict[str, int]:
        """The GPUs that train, those of a vLLM server of their own, and the judge's."""
        stations, recipe = self.setting.stations, self.setting.recipe
        if self.trains_on_cpu:
            return {"training": 0}
        judge = {name: station.gpus * station.replicas for name, station in stations.items() if name != STUDENT}
        sampling = {"vLLM server": count_parallel(recipe.trainer)} if is_apart(recipe) else {}
        return {"training": self.setting.processes, **sampling, **judge}

    def summarize(self, accepted: int | None) -> dict[str, str]:
        course, gpus = self.course, self.gpus
        hours = course.seconds / 3600
        largest = max(course.parts, key=lambda part: part.total)
        return {
            "weights": self._write_weights(),
            "examples": self._write_examples(),
            "steps": self._write_steps(),
            "completions": self._write_lengths(),
            "tokens": f"{course.tokens:,.0f}",
            "hours from": self.origin,
            "wall-clock": write_duration(course.seconds),
            "GPUs": ", ".join(f"{name} {count}" for name, count in gpus.items()),
            "GPU-hours held": f"{sum(gpus.values()) * hours:,.2f}",
            "evaluation": f"{write_percent(course.total(EVALUATION) / course.seconds, 1)} of the time",
            "largest part": f"{largest.name}, {write_percent(largest.total / course.seconds)} of the time",
            "memory of a GPU": self._write_memory(),
        }

    def _write_weights(self) -> str:
        shape, recipe = self.setting.shape, self.setting.recipe
        kind = f"{shape.adapters:,} in adapters" if shape.adapters else f"{shape.trained:,}"
        loses = shape.trained and read_size(recipe) < 4 and self.setting.processes == 1
        warning = "; no float32 weights: small updates are lost" if loses else ""
        return f"{kind} are trained, {shape.parameters:,} are loaded{warning}"

    def _write_examples(self) -> str:
        if not self.examples:
            return DASH
        recipe = self.setting.recipe
        passes = int(recipe.trainer["max_steps"]) * recipe.prompts_per_step / self.examples
        return f"{self.examples:,}, {passes:,.1f} passes over them"

    def _write_steps(self) -> str:
        recipe = self.setting.recipe
        group, processes = recipe.trainer.get("num_generations") or 8, self.setting.processes
        each = f"{write_count(recipe.prompts_per_step, 'prompt')} of {group} completions"
        return f"{recipe.trainer['max_steps']:,} of {each}, {recipe.prompts_per_step * group // processes} a process"

    def _write_lengths(self) -> str:
        drawn = self.setting.lengths
        return f"mean {drawn.mean:,.0f} tokens, {write_percent(drawn.cut_off)} cut off at {drawn.most:,.0f}"

    def _write_memory(self) -> str:
        if self.trains_on_cpu:
            return DASH
        return "; ".join(self._write_fit(gb) for gb in PRIORS["gpu"]["memory_gb"].values())

    def _write_fit(self, gb: float) -> str:
        most = max(self.memory.sampling(gb * _GB), self.memory.updating(gb * _GB)) / _GB
        if not self.memory.engine_fits(gb * _GB):
            return f"{gb} GB: trainer.vllm_gpu_memory_utilization leaves no room for vLLM's weights"
        return f"{most:,.1f} GB of {gb}, {'fits' if self.memory.fits(gb * _GB) else 'does not fit'}"

    def show(self, name: str) -> list[Table]:
        stations = self.setting.stations
        used = {n: self.course.work.get(n, 0.0) / (self.course.seconds * s.replicas) for n, s in stations.items()}
        memory = [] if self.trains_on_cpu else [self._show_memory(name)]
        return [self._show_hours(name), *memory, show_endpoints(name, stations, used.__getitem__)]

    def _show_hours(self, name: str) -> Table:
        table = make_table("part", "seconds each", "times", "hours", "share", title=f"{name}: hours")
        for part in self.course.parts:
            share = write_percent(part.total / self.course.seconds, 1)
            table.add_row(part.name, f"{part.seconds:,.1f}", f"{part.count:,}", f"{part.total / 3600:,.2f}", share)
        return table

    def _show_memory(self, name: str) -> Table:
        """Build the table of a GPU's memory, with two columns for each size of GPU."""
        sizes, memory = list(PRIORS["gpu"]["memory_gb"].values()), self.memory
        columns = [f"{phase}, {gb} GB" for gb in sizes for phase in ("sampling", "updating")]
        table = make_table("GB on one GPU", *columns, title=f"{name}: memory")
        for part, size in {**memory.held, **memory.passing}.items():
            cells = [f"{size / _GB:,.2f}" if part in memory.held else DASH, f"{size / _GB:,.2f}"]
            table.add_row(part, *cells * len(sizes))
        engine = [(memory.engine_share * gb, 0.0 if memory.sleeps else memory.engine_share * gb) for gb in sizes]
        table.add_row("vLLM", *(f"{gb:,.2f}" for pair in engine for gb in pair))
        totals = [(memory.sampling(gb * _GB), memory.updating(gb * _GB)) for gb in sizes]
        table.add_row("sum", *(f"{total / _GB:,.2f}" for pair in totals for total in pair))
        return table
