"""A search over heads: a plan of trials, one chunk per trial on any cpu worker, and a closing chunk: the refit.

A trial's score is a small file in the job's folder, where the closing chunk reads it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from jdq.store.job_files import NoResult
from jdq.worker.heads.errors import BadParameter, TimeIsUp
from jdq.worker.jobs.cores import share_of_cores, threads_for
from jdq.worker.jobs.train_head import TrainingData, training_data
from jdq.worker.process.chunk_work import ChunkContext
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import HeadSearch, TrainHead
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.scripts import FollowUpChunks

if TYPE_CHECKING:
    from jdq.worker.heads.head import TrainedHead
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.search import Trial, TrialScore

TRIALS, STARTED = "trials", "started"
MORE_TRIALS = 200  # after the grid, as long as there is time
TIME_IS_UP = "the search was out of time"


def search_work(context: ChunkContext[TrainHead], search: HeadSearch) -> SearchPlan | TrialWork | RefitWork:
    """The work of a search's chunk: 0 plans, the next ones are trials, the last one closes. Raises NoResult."""
    if context.chunk == 0:
        return SearchPlan(context, search)
    trials = stored_trials(context.job, context.runtime)
    if context.chunk <= len(trials):
        return TrialWork(context, search, trials[context.chunk - 1])
    return RefitWork(context, search, trials)


def stored_trials(job: str, runtime: Runtime) -> list[Trial]:
    """The trials of the plan that was stored first."""
    from jdq.worker.heads.search import Trial

    return msgspec.convert(runtime.job_files.get_json(job, TRIALS)[TRIALS], list[Trial])


def stored_scores(job: str, trials: list[Trial], runtime: Runtime) -> list[TrialScore]:
    """The scores of the trials that have ended."""
    from jdq.worker.heads.search import TrialScore

    scores = []
    for trial in trials:
        try:
            scores.append(msgspec.convert(runtime.job_files.get_json(job, score_name(trial.number)), TrialScore))
        except NoResult:
            continue
    return scores


def poolings(training: TrainingData) -> list[str]:
    """The job's feature space, then those that differ from it only in the pooling and have all of its rows."""
    runtime, spec, own = training.context.runtime, training.context.spec, training.space.space
    definition = runtime.space(own).definition
    spaces = [own]
    for record in runtime.version(spec.dataset, spec.version).spaces():
        space = runtime.space(record.space)
        same = msgspec.structs.replace(space.definition, pooling=definition.pooling) == definition
        if same and record.space not in spaces and not space.missing(training.data.keys).any():
            spaces.append(record.space)
    return spaces


def best_options(base: HeadOptions, head: TrainedHead) -> HeadOptions:
    """The options with which the best head was trained."""
    return msgspec.structs.replace(base, head=head.record.head, params=head.record.params, cv=None)


def score_name(number: int) -> str:
    """The name of the file with a trial's score."""
    return f"trial-{number}"


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Lists the trials, which are the follow-up chunks."""

    context: ChunkContext[TrainHead]
    search: HeadSearch

    def prepare(self) -> TrainingData:
        """Reads labels and split, and checks that the features exist, so a wrong job fails before it has chunks."""
        return training_data(self.context)

    def compute(self, training: TrainingData, held: HeldLease) -> list[Trial]:
        """Lists the trials."""
        from jdq.worker.heads.search import list_trials

        trials = list_trials(
            self.context.spec.options,
            rows=training.data.split.counts()["train"],
            trials=self.search.trials,
            heads=self.search.heads or None,
            allowed=self.context.runtime.config.allowed_classifiers,
            spaces=poolings(training),
            more=0 if self.search.time_s is None else MORE_TRIALS,
        )
        if not trials:
            raise BadParameter("no kind of head is left to try: the given ones do not support class weights")
        return trials

    def publish(self, trials: list[Trial]) -> Outcome:
        """Stores the trials."""
        job, runtime = self.context.job, self.context.runtime
        runtime.job_files.put_json(job, TRIALS, {TRIALS: msgspec.to_builtins(trials), STARTED: time.time()})
        n_trials = len(stored_trials(job, runtime))
        return Outcome(
            counts={"trials_total": n_trials},
            follow_up=FollowUpChunks(chunks=n_trials, queue="cpu", closing="cpu", yields=True),
        )


@dataclass(frozen=True, slots=True)
class TrialWork:
    """One trial: cross-validation over the train part."""

    context: ChunkContext[TrainHead]
    search: HeadSearch
    trial: Trial

    def prepare(self) -> TrainingData:
        """Maps the features, reads the labels and the split."""
        return training_data(self.context, self.trial.space)

    def compute(self, training: TrainingData, held: HeldLease) -> TrialScore:
        """Scores the trial unless the time is up; always scores `tf-idf`, so that there is a useful head."""
        from jdq.worker.heads.search import NO_FEATURES, score_trial, unscored

        files, job = self.context.runtime.job_files, self.context.job
        plan = files.get_json(job, TRIALS)
        first = self.trial.number == 0 or self.trial.options.head in NO_FEATURES
        ends = math.inf if first or self.search.time_s is None else plan[STARTED] + self.search.time_s

        def check(done: int, total: int) -> None:
            held.report(head=self.trial.options.head, step=done, steps=total)
            if time.time() > ends:
                raise TimeIsUp(TIME_IS_UP)

        if time.time() > ends:
            return unscored(self.trial, self.search.folds, TIME_IS_UP)
        with threads_for(training.size_bytes, most=share_of_cores(self.context.runtime)):
            return score_trial(
                training.features,
                training.data.labels,
                training.data.split,
                self.trial,
                keys=training.data.keys,
                folds=self.search.folds,
                metric=self.search.metric,
                rivals=stored_scores(job, stored_trials(job, self.context.runtime), self.context.runtime),
                check=check,
            )

    def publish(self, score: TrialScore) -> Outcome:
        """Stores the score."""
        self.context.runtime.job_files.put_json(self.context.job, score_name(self.trial.number), score)
        return Outcome(counts={"trials_done": 1})


@dataclass(frozen=True, slots=True)
class RefitWork:
    """The closing chunk: trains the best trial on the complete train part."""

    context: ChunkContext[TrainHead]
    search: HeadSearch
    trials: list[Trial]

    def prepare(self) -> tuple[TrainingData, list[TrialScore]]:
        """Reads all scores, and maps the features of the best."""
        from jdq.worker.heads.search import best_of, rank

        scores = stored_scores(self.context.job, self.trials, self.context.runtime)
        best = best_of(rank(scores, metric=self.search.metric), self.search.metric)
        return training_data(self.context, best.space), scores

    def compute(
        self, prepared: tuple[TrainingData, list[TrialScore]], held: HeldLease
    ) -> tuple[TrainingData, TrainedHead]:
        """Trains the best."""
        from jdq.worker.heads.search import refit_best

        training, scores = prepared
        with threads_for(training.size_bytes):
            head = refit_best(
                training.features,
                training.data.labels,
                training.data.split,
                scores,
                metric=self.search.metric,
                origin=training.origin,
                keys=training.data.keys,
                allowed=self.context.runtime.config.allowed_classifiers,
                check=lambda done, total: held.report(step=done, steps=total),
            )
            head = training.repeated(head, best_options(self.context.spec.options, head), held)
            training.measure_baselines(head, held)
        return training, head

    def publish(self, trained: tuple[TrainingData, TrainedHead]) -> Outcome:
        """Publishes the head."""
        training, head = trained
        return training.publish(head)
