"""A search over heads: a plan of trials, one chunk a trial on any cpu worker, and a closing chunk that refits the best.

A trial's score is a small file of the job's folder, so that the closing chunk finds all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jdq.worker.heads.errors import BadParameter
from jdq.worker.jobs.cores import share_of_cores, threads_for
from jdq.worker.jobs.train_head import TrainingData, publish_head
from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import HeadSearch, TrainHead
from jdq.worker.queue.ledger import More, Outcome

if TYPE_CHECKING:
    from jdq.worker.heads.search import Trial
    from jdq.worker.process.chunk_loop import ChunkWork

TRIALS = "trials"


def search_work(job: str, chunk: int, spec: TrainHead, search: HeadSearch, runtime: Runtime) -> ChunkWork:
    """The work of a search's chunk: 0 plans, the next ones are trials, the last one closes. Raises NoResult."""
    if chunk == 0:
        return SearchPlan(job, spec, search, runtime)
    trials = stored_trials(job, runtime)
    if chunk <= len(trials):
        return TrialWork(job, trials[chunk - 1], spec, search, runtime)
    return RefitWork(job, spec, search, runtime)


def stored_trials(job: str, runtime: Runtime) -> list[Trial]:
    """The trials of the plan that was stored first."""
    from jdq.worker.heads.search import Trial

    return msgspec.convert(runtime.runs.get_json(job, TRIALS)[TRIALS], list[Trial])


def score_name(number: int) -> str:
    """The name of the file with a trial's score."""
    return f"trial-{number}"


class SearchPlan:
    """Lists the trials, and says how many chunks follow."""

    def __init__(self, job: str, spec: TrainHead, search: HeadSearch, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._search = search
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads labels and split, and finds that the features are there: a wrong job fails before it fans out."""
        self._training = TrainingData(self._spec, self._runtime)

    def compute(self, pulse: Pulse) -> None:
        """Lists the trials."""
        from jdq.worker.heads.search import list_trials

        trials = list_trials(
            self._spec.options,
            rows=self._training.data.split.counts()["train"],
            trials=self._search.trials,
            heads=self._search.heads or None,
        )
        if not trials:
            raise BadParameter("no kind of head is left to try: those named take no class weights")
        self._trials = trials

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores the trials."""
        self._runtime.runs.put_json(self._job, TRIALS, {TRIALS: msgspec.to_builtins(self._trials)})
        n_trials = len(stored_trials(self._job, self._runtime))
        return Outcome(
            counts={"trials_total": n_trials},
            more=More(chunks=n_trials, queue="cpu", closing="cpu"),
        )


class TrialWork:
    """One trial: cross-validation over the train part."""

    def __init__(self, job: str, trial: Trial, spec: TrainHead, search: HeadSearch, runtime: Runtime) -> None:
        self._job = job
        self._trial = trial
        self._spec = spec
        self._search = search
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Maps the features, reads the labels and the split."""
        self._training = TrainingData(self._spec, self._runtime)

    def compute(self, pulse: Pulse) -> None:
        """Scores the trial, and stops when told to."""
        from jdq.worker.heads.search import score_trial

        data = self._training.data
        with threads_for(self._training.size_bytes, most=share_of_cores(self._runtime)):
            self._score = score_trial(
                self._training.features,
                data.labels,
                data.split,
                self._trial,
                keys=data.keys,
                folds=self._search.folds,
                check=lambda done, total: pulse.report(head=self._trial.options.head, step=done, steps=total),
            )

    def publish(self, pulse: Pulse) -> Outcome:
        """Stores the score."""
        self._runtime.runs.put_json(self._job, score_name(self._trial.number), self._score)
        return Outcome(counts={"trials_done": 1})


class RefitWork:
    """The closing chunk: the best trial, trained on the whole train part."""

    def __init__(self, job: str, spec: TrainHead, search: HeadSearch, runtime: Runtime) -> None:
        self._job = job
        self._spec = spec
        self._search = search
        self._runtime = runtime

    def prepare(self, pulse: Pulse) -> None:
        """Reads all scores."""
        from jdq.worker.heads.search import TrialScore

        self._training = TrainingData(self._spec, self._runtime)
        names = [score_name(trial.number) for trial in stored_trials(self._job, self._runtime)]
        self._scores = [msgspec.convert(self._runtime.runs.get_json(self._job, name), TrialScore) for name in names]

    def compute(self, pulse: Pulse) -> None:
        """Trains the best, and stops when told to."""
        from jdq.worker.heads.search import refit_best

        data = self._training.data
        with threads_for(self._training.size_bytes):
            self._head = refit_best(
                self._training.features,
                data.labels,
                data.split,
                self._scores,
                metric=self._search.metric,
                origin=self._training.origin,
                keys=data.keys,
                check=lambda done, total: pulse.report(step=done, steps=total),
            )

    def publish(self, pulse: Pulse) -> Outcome:
        """Publishes the head as one file."""
        return Outcome(result=publish_head(self._job, self._head, self._training, self._runtime))
