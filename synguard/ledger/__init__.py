"""The ledger: bans, verdicts, incidents and actions in one SQLite file."""

from synguard.ledger.database import LedgerDeniedError
from synguard.ledger.ledger import LEDGER_FILE, Ledger
from synguard.ledger.records import ActionRecord, BanRecord, Offence, VerdictRecord

__all__ = ["LEDGER_FILE", "ActionRecord", "BanRecord", "Ledger", "LedgerDeniedError", "Offence", "VerdictRecord"]
