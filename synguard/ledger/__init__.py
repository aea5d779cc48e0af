"""The ledger: bans, verdicts, incidents, actions and the history of pressure in one SQLite file."""

from synguard.ledger.database import LedgerDeniedError
from synguard.ledger.ledger import LEDGER_FILE, Ledger
from synguard.ledger.records import (
    OVERLOOKED,
    ActionRecord,
    BanRecord,
    Figure,
    Offence,
    Stretch,
    Touched,
    Track,
    VerdictRecord,
)

__all__ = [
    "LEDGER_FILE",
    "OVERLOOKED",
    "ActionRecord",
    "BanRecord",
    "Figure",
    "Ledger",
    "LedgerDeniedError",
    "Offence",
    "Stretch",
    "Touched",
    "Track",
    "VerdictRecord",
]
