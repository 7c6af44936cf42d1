"""Asking before money is spent: above a limit a terminal asks, anything else needs --yes."""

from dataclasses import dataclass

import typer
from rich.console import Console

from tally.errors import SpecError

CONFIRM_ABOVE_USD = 5.0


@dataclass(frozen=True)
class Consent:
    """What the user has agreed to.

    Attributes:
        yes: to whatever the quote says.
        above_usd: quotes from here on are asked about.
    """

    yes: bool = False
    above_usd: float = CONFIRM_ABOVE_USD

    def require(self, console: Console, expected_usd: float, high_usd: float, what: str) -> None:
        """Go on only if the user agrees.

        Args:
            console: that a question goes to.
            expected_usd, high_usd: of the quote.
            what: is going to run.

        Raises:
            SpecError: it costs more than above_usd, and there is no terminal to ask.
            typer.Abort: the user said no.
        """
        if self.yes or expected_usd <= self.above_usd:
            return
        if not (console.is_terminal and console.is_interactive):
            raise SpecError(
                f"{what}: expected --yes for a quote above ${self.above_usd:.2f} "
                f"(confirm_above_usd), got none for ${expected_usd:.2f}; pass YES=1, or raise "
                "TALLY_CONFIRM_ABOVE_USD"
            )
        typer.confirm(
            f"{what} is quoted at ${expected_usd:.2f}, up to ${high_usd:.2f}: go on?",
            abort=True,
            err=True,
        )
