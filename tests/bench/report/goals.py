"""A figure of a measurement that has a goal."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure with the most or the least that it should be.

    Attributes:
        what: What was measured, with its unit or with what it is a multiple of.
        figure: The figure.
        limit: The goal.
        is_least: Whether the figure should be at least the goal, instead of at most.
    """

    what: str
    figure: float
    limit: float
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure is as good as its goal."""
        return self.figure >= self.limit if self.is_least else self.figure <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """Return the row of a table."""
        bound = "at least" if self.is_least else "at most"
        met = "yes" if self.is_met else "no"
        return self.what, _shown(self.figure), f"{bound} {_shown(self.limit)}", met

    def __str__(self) -> str:
        """Return a line."""
        what, figure, goal, met = self.row()
        return f"{what}: {figure} (goal: {goal}; reached: {met})"


def goals_table(goals: Iterable[Goal]) -> Table:
    """Build the table of all goals."""
    table = Table("what", "figure", "goal", "reached")
    for goal in goals:
        table.add_row(*goal.row())
    return table


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.2f}"
