"""Tasks with weighted rubrics, exported by Autodata. Each trainer loads only the file that it needs."""

__all__ = ["RubricTaskset"]


def __getattr__(name: str) -> object:
    """Import the taskset where verifiers asks for it, because the rest of the package does not need verifiers."""
    if name != "RubricTaskset":
        raise AttributeError(name)
    from .taskset import RubricTaskset

    return RubricTaskset
