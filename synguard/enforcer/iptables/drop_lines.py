"""Very many drops of everything as lines for ``ipset restore``, made from words alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from synguard.enforcer.iptables.set_members import LONGEST_TIMEOUT_S
from synguard.enforcer.names import Kind, member_comment, set_name


def drop_lines(bans: Iterable[tuple[str, str, int]], now: datetime) -> Iterator[str]:
    """Yield the lines that add drops of everything: (ban id, target as text, UTC seconds of its end), for long lists.

    The same lines as ``member_lines`` gives for such bans, in a tenth of the time.
    """
    names = {False: set_name(Kind.ALL_DROP, 4), True: set_name(Kind.ALL_DROP, 6)}
    now_s = now.timestamp()
    tails: dict[int, tuple[str, str]] = {}  # end → what stands around the id
    for ban_id, target, ends_s in bans:
        if ends_s > now_s:
            tail = tails.get(ends_s)
            if tail is None:
                timeout = min(math.ceil(ends_s - now_s), LONGEST_TIMEOUT_S)
                before, after = member_comment("|", datetime.fromtimestamp(ends_s, UTC)).split("|")
                tail = tails[ends_s] = f' timeout {timeout} comment "{before}', f'{after}"'
            yield f"add {names[':' in target]} {target}{tail[0]}{ban_id}{tail[1]}"
