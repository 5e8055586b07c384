"""What fits a machine, and how a model is best run on it. Pure: files and hardware come in as facts."""

from tundish.catalog.fit.plan import Plan, Wishes, budget_bytes, plan

__all__ = ["Plan", "Wishes", "budget_bytes", "plan"]
