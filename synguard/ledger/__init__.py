"""The ledger: bans, verdicts, incidents, actions and the history of pressure in one SQLite file.

Knows nothing of the kernel. May import ``policy`` and the leaves.
"""

from synguard.ledger.database import LedgerDeniedError
from synguard.ledger.ledger import LEDGER_FILE, Ledger
from synguard.ledger.reader import LedgerReader
from synguard.ledger.records import (
    OVERLOOKED,
    ActionRecord,
    BanRecord,
    FalsePositives,
    Figure,
    Offence,
    Stretch,
    Track,
    VerdictRecord,
)

__all__ = [
    "LEDGER_FILE",
    "OVERLOOKED",
    "ActionRecord",
    "BanRecord",
    "FalsePositives",
    "Figure",
    "Ledger",
    "LedgerDeniedError",
    "LedgerReader",
    "Offence",
    "Stretch",
    "Track",
    "VerdictRecord",
]
