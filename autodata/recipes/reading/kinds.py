"""Lists the kinds of recipes: how the names of their files begin, their schemas, and the commands that read them."""

from autodata.recipes.corpora import DownloadRecipe, HubRecipe, IngestRecipe
from autodata.recipes.data import DatasetRecipe, JudgeAuditRecipe
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe, StudyRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.training import GrpoRecipe

# The schema of a recipe, by how the name of its file begins, or else the name of its folder. The kind of a run in its
# manifest begins with the same word.
SCHEMAS = {
    "download": DownloadRecipe,
    "ingest": IngestRecipe,
    "generate": GenerateRecipe,
    "dataset": DatasetRecipe,
    "grpo": GrpoRecipe,
    "eval": EvalRecipe,
    "prbench": EvalRecipe,
    "judge_audit": JudgeAuditRecipe,
    "question": QuestionTypesRecipe,
    "table": TableRecipe,
    "analysis": StudyRecipe,
    "meta": MetaRecipe,
    "hub": HubRecipe,
}
# The module that reads recipes of a schema. Every other table of commands is made from this one, or tested against it.
MODULES = {
    DownloadRecipe: "autodata.corpora.download",
    HubRecipe: "autodata.corpora.hub",
    IngestRecipe: "autodata.corpora.ingest",
    GenerateRecipe: "autodata.generate",
    DatasetRecipe: "autodata.dataset",
    GrpoRecipe: "autodata.training.grpo",
    EvalRecipe: "autodata.eval.run",
    JudgeAuditRecipe: "autodata.judge_audit",
    QuestionTypesRecipe: "autodata.eval.question_types",
    TableRecipe: "autodata.eval.tables",
    StudyRecipe: "autodata.eval.study",
    MetaRecipe: "autodata.meta.optimize",
}
# How messages name the command; the script of the training is what `accelerate launch` takes.
COMMANDS = {schema: f"python -m {module}" for schema, module in MODULES.items()} | {GrpoRecipe: "training/grpo.py"}
