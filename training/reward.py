"""The reward: the domain's judge, the same that accepted the example."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence

from autodata.domains.base import Domain
from autodata.llm import EndpointError
from autodata.types import CANDIDATE

log = logging.getLogger(__name__)


class Reward:
    """Judges completions concurrently; a completion that cannot be judged has no reward."""

    def __init__(self, domain: Domain):
        self._domain = domain
        self.failed = 0

    async def score(
        self, completions: Sequence[str], candidate: Sequence[str], **_columns: object
    ) -> list[float | None]:
        """One score in [0, 1] per completion; None (never 0) where judging failed.

        TRL leaves None out of the group's baseline and gives that completion no gradient.
        """
        pairs = zip(completions, candidate, strict=True)
        return list(await asyncio.gather(*(self._score_one(c, t) for c, t in pairs)))

    async def _score_one(self, completion: str, candidate_json: str) -> float | None:
        candidate = CANDIDATE.validate_json(candidate_json)
        if not completion.strip():
            return 0.0  # no answer, as in generation
        seed = int.from_bytes(hashlib.sha256((candidate.hash + completion).encode()).digest()[:4], "big") >> 1
        try:
            judgement = await self._domain.judge(candidate, completion, seed)
        except EndpointError as error:
            log.warning("%s", error)
            self.failed += 1
            return None
        self.failed += judgement.score is None
        return judgement.score
