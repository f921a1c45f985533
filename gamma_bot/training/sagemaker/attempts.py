"""The attempts that are not over, in memory: little of each, since there may be ten thousand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from gamma_bot.store.launches import Launch, LaunchState
from gamma_bot.training.sagemaker import names
from gamma_bot.training.sagemaker.outcomes import read, usage_so_far
from gamma_bot.training.sagemaker.sightings import Sighting, detail_of, merged, ordinal, phase_of
from gamma_bot.training.trainer import Attempt, Observation, Phase

_REMEMBERED_ENDS = 4_096


class OpenAttempts:
    """The newest try of each, as it was last seen, and what there is to tell of it.

    Args:
        region: for the addresses of SageMaker's own pages.
    """

    def __init__(self, region: str) -> None:
        self.trouble = ""  # why AWS can't be asked, if it can't for a while
        self._region = region
        self._launches: dict[str, Launch] = {}
        self._keys: dict[str, str] = {}
        self._told: dict[str, Observation] = {}
        self._ended: OrderedDict[str, tuple[str, Observation]] = OrderedDict()  # with its last training job's name
        self._changed: set[str] = set()
        self._uncreated: set[str] = set()

    def __len__(self) -> int:
        return len(self._launches)

    def __iter__(self) -> Iterator[Launch]:
        return iter(list(self._launches.values()))

    def get(self, key: str) -> Launch | None:
        """The open try of an attempt."""
        return self._launches.get(key)

    @property
    def uncreated(self) -> list[Launch]:
        """Those whose training job is still to be created, as far as is known: of thousands a few."""
        return [self._launches[key] for key in self._uncreated]

    def named(self, name: str) -> Launch | None:
        """The open try with this training job."""
        key = self._keys.get(name)
        return self._launches.get(key) if key is not None else None

    def observations(self, keys: Iterable[str]) -> tuple[list[Observation], list[str]]:
        """What there is to tell of attempts, and the keys of those of which nothing is known here."""
        found, unknown = [], []
        for key in keys:
            told = self._told.get(key)
            if told is None and key in self._ended:
                told = self._ended[key][1]
            found.append(told) if told is not None else unknown.append(key)
        return found, unknown

    def training_job(self, key: str) -> str | None:
        """The name of an attempt's newest training job; ``None`` if that is not known here."""
        if key in self._launches:
            return self._launches[key].name
        return self._ended[key][0] if key in self._ended else None

    def keep(self, launch: Launch) -> None:
        """Take a try as it is stored now; an older one of its attempt is forgotten."""
        key = launch.attempt
        before = self._launches.get(key)
        if before is not None and before.number > launch.number:
            return
        if before is not None:
            self._keys.pop(before.name, None)
            if before.number == launch.number and before.status and not launch.is_over:
                launch = _as_seen(launch, merged(_sighting(before), _sighting(launch)))
        if launch.is_over:
            self._launches.pop(key, None)
            self._told.pop(key, None)
            self._changed.discard(key)
            self._uncreated.discard(key)
            self._ended[key] = (launch.name, _ended(launch, self._region))
            self._ended.move_to_end(key)
            if len(self._ended) > _REMEMBERED_ENDS:
                self._ended.popitem(last=False)
            return
        self._ended.pop(key, None)
        self._launches[key], self._keys[launch.name] = launch, key
        self._told[key] = self._tell(launch)
        (self._uncreated.discard if launch.state is LaunchState.CREATED else self._uncreated.add)(key)

    def see(self, name: str, sighting: Sighting) -> Launch | None:
        """Take note of how a training job was; its try if that is news."""
        launch = self.named(name)
        if launch is None:
            return None
        changed = _as_seen(launch, merged(_sighting(launch), sighting))
        if changed == launch:
            return None
        self._launches[launch.attempt] = changed
        self._told[launch.attempt] = self._tell(changed)
        self._changed.add(launch.attempt)
        return changed

    def take_changes(self) -> list[Launch]:
        """What was seen of tries since the last call."""
        changed, self._changed = self._changed, set()
        return [self._launches[key] for key in changed if key in self._launches]

    def forget_all_but(self, launches: Collection[Launch]) -> None:
        """Know these tries and no others, as after a time in which somebody else looked after them."""
        self._launches.clear()
        self._keys.clear()
        self._told.clear()
        self._ended.clear()
        self._changed.clear()
        self._uncreated.clear()
        for launch in launches:
            self.keep(launch)

    def tell_of_trouble(self, words: str) -> None:
        """Say of everything under way that AWS can't be asked, or that it can again."""
        if words != self.trouble:
            self.trouble = words
            self._told = {key: self._tell(launch) for key, launch in self._launches.items()}

    def _tell(self, launch: Launch) -> Observation:
        attempt = Attempt(launch.job, launch.job_attempt)
        url = names.console_page(self._region, launch.name) if launch.status else ""
        phase, detail = Phase.QUEUED, launch.waits_for or "SageMaker is asked for a machine"
        if launch.status:
            phase, detail = phase_of(_sighting(launch)), detail_of(_sighting(launch))
        elif launch.state is LaunchState.CREATED:
            phase, detail = Phase.PREPARING, "waits for a machine"
        if launch.number > 1:
            detail = f"{detail} ({ordinal(launch.number)} try)".strip()
        if self.trouble:
            detail = f"{detail}; {self.trouble}" if detail else self.trouble
        return Observation(attempt, phase, detail, usage=usage_so_far(launch), url=url)


def _ended(launch: Launch, region: str) -> Observation:
    outcome = read(launch.outcome)
    attempt = Attempt(launch.job, launch.job_attempt)
    url = names.console_page(region, launch.name) if launch.status else ""
    return Observation(attempt, Phase.ENDED, outcome.message, outcome, outcome.usage, url)


def _sighting(launch: Launch) -> Sighting:
    return Sighting(launch.status, launch.secondary, launch.modified_at, launch.interruptions, launch.waits_for)


def _as_seen(launch: Launch, sighting: Sighting) -> Launch:
    return replace(
        launch,
        status=sighting.status,
        secondary=sighting.secondary,
        modified_at=sighting.modified_at,
        interruptions=sighting.interruptions,
        waits_for=sighting.message if sighting.status else launch.waits_for,
    )
