"""A random history of nights, made from a seed: faults, zombies, clears, other writers, and calm nights at the end."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final
from unittest.mock import patch

from s3_to_azure.model.errors import Cancelled, TransientError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.report import Report
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.transfer.blocks import ID_CHARACTERS
from tests.chaos import tasks
from tests.chaos.actors import CALM, FOR_EVER, Actor, Killed, Weather
from tests.chaos.others import Others
from tests.chaos.promises import Migration, ReportCheck, Run, WriteCheck, rows_of, summary_of
from tests.chaos.tasks import CopyActor, LiveRun, Task
from tests.chaos.world import World
from tests.fakes.state_memory import MemoryState

NEVER_SPLIT: Final = 1 << 60
NAMES: Final = (
    *("a", "b", "c", "sub/d", "sub/e", "sub/deep/f", "g.csv", "h.csv", "i.tmp"),
    *("x y", "plus+and%20percent", "a//b", "/lead", "ü ß/日本", "hash#?&=", "~2F", "dots..in/.hidden"),
    *("end/", "back\\slash", "dot./x", "trail.", "tab\there", "k" * 900, "_s3_to_azure/x"),
)


class History:
    """One history.

    Args:
        seed: Everything follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.runs = 0
        self.green = 0
        self._dice = Random(seed)
        self.world = World("one", "two", hierarchical=self._dice.random() < 0.1)
        self._zombies: list[Actor] = []
        self._reports: dict[str, tuple[MemoryState, dict[str, Any]]] = {}
        # With one connection and the memory of one block, each try sends its requests one after the other.
        self.is_repeatable = self._dice.random() < 0.6
        self._all_reread = self._dice.random() < 0.15
        self._migrations = self._choose_migrations()
        self._keys = {
            migration: [migration.s3_prefix + name for name in self._dice.sample(NAMES, self._dice.randint(2, 9))]
            for migration in self._migrations
        }
        checksums = 0.3 if self._all_reread else 0.8
        hostile = self._dice.random() < 0.8
        self._others = Others(self.world, self._keys, self._dice, hostile=hostile, checksums=checksums)

    def live(self) -> World:
        """Run the history to its end; return the world, in which every broken promise is noted."""
        if not self.is_repeatable:
            return self._run()
        with (
            patch("s3_to_azure.runs.batch.copy_many", tasks.copy_in_order),
            patch("s3_to_azure.planning.key_list.ThreadPoolExecutor", tasks.LookUpsInOrder),
        ):
            return self._run()

    def _run(self) -> World:
        self._others.fill()
        for night in range(self._dice.randint(2, 6)):
            self.world.note(f"-- night {night}")
            weather = self._choose_weather()
            chosen = self._dice.sample(self._migrations, self._dice.randint(1, len(self._migrations)))
            lives = [self._begin(migration, f"n{night}-{migration.name}", weather) for migration in chosen]
            self._play(lives, events=self._dice.choice([0.0, 0.1, 0.3, 0.5]))
        self._settle()
        self._check_reports()
        self._calm_nights()
        return self.world

    # -- what is there ---------------------------------------------------------------------------------------------

    def _choose_migrations(self) -> list[Migration]:
        dice = self._dice
        prefix = dice.choice(["d/", "", "d", "d/e/"])
        target = dice.choice(["in/", "", "in", "deep/in/"])
        first = Migration("A", "one", prefix, target)
        kinds = ["one", "one", "two", "below", "same bucket", "same names"]
        kind = dice.choice(kinds)
        if kind == "one":
            return [first]
        if kind == "same bucket":
            return [first, Migration("B", "one", "other/", "out/")]
        targets = {"two": "out/", "below": f"{target}below/", "same names": target}
        return [first, Migration("B", "two", dice.choice(["", "d/"]), targets[kind])]

    # -- a night ---------------------------------------------------------------------------------------------------

    def _choose_weather(self) -> Weather:
        dice = self._dice
        if dice.random() < 0.2:
            return CALM

        def some(most: float) -> float:
            return dice.choice([0.0, most / 10, most / 3, most])

        return Weather(
            refused=some(0.3),
            lost=some(0.3),
            late=some(0.2),
            doubled=some(0.3),
            damaged=some(0.4),
            lies=dice.choice([0.0, 0.0, 0.1]),
            rot=some(0.5),
            state=dice.choice([0.0, 0.0, 0.03]),
            all_reread=self._all_reread,
        )

    def _choose_run(self, migration: Migration, name: str) -> Run:
        dice = self._dice
        levels = ["auto", "auto", "readback", "readback", "crc32", "transport"]
        integrity = "reread" if self._all_reread else dice.choice(levels)
        block = dice.choice([MIB, MIB, 2 * MIB])
        settings = PlanSettings(
            s3_prefix=migration.s3_prefix,
            blob_prefix=migration.blob_prefix,
            overwrite=dice.choice(["if_changed", "if_changed", "if_changed", "never", "always"]),
            integrity=integrity,
            filters=self._choose_filters(),
            refused_names=dice.choice(["fail", "skip", "map"]),
            max_tasks=dice.randint(1, 8),
            split_bytes=dice.choice([MIB, 2 * MIB, NEVER_SPLIT]),
            batch_bytes=dice.choice([1, MIB, 1 << 40]),
            memory_budget_bytes=block if self.is_repeatable else dice.choice([4, 16]) * MIB,
            block_bytes=block,
        )
        keys = None
        if dice.random() < 0.15:
            known = self._keys[migration]
            keys = tuple(sorted({*dice.sample(known, min(3, len(known))), f"{migration.s3_prefix}missing"}))
        return Run(migration, name, settings, keys=keys)

    def _begin(self, migration: Migration, name: str, weather: Weather) -> LiveRun:
        """Begin a run: of a DAG with its mapped tasks, or of one task."""
        run = self._choose_run(migration, name)
        if self._dice.random() < 0.75:
            return self._mapped(run, weather)
        work = tasks.copy_prefix
        run.keys = None
        if self._dice.random() < 0.4:
            run.keys = (self._dice.choice(self._keys[migration]),)
            run.settings = replace(run.settings, filters=Filters())
            run.joined = False
            work = tasks.copy_one
        live = self._live(run, weather, "one task")
        live.tasks = [self._task(live, "all", work, CopyActor)]
        return live

    def _mapped(self, run: Run, weather: Weather) -> LiveRun:
        live = self._live(run, weather, "list")
        self._start_listing(live)
        return live

    def _live(self, run: Run, weather: Weather, phase: str) -> LiveRun:
        dice = self._dice
        at_once = 1 if self.is_repeatable else dice.choice([2, 4])
        self.runs += 1
        self.world.note(f"{run.name}: {run.settings} {weather} keys={run.keys}")
        return LiveRun(
            run,
            weather,
            phase,
            at_once,
            small=not self.is_repeatable and dice.random() < 0.8,
            most_tries=dice.randint(1, 4),
        )

    def _choose_filters(self) -> Filters:
        dice = self._dice
        if dice.random() < 0.7:
            return Filters()
        return dice.choice(
            [
                Filters(exclude=("*.tmp", "*sub/*")),
                Filters(include=("*.csv", "*a")),
                Filters(min_size_bytes=50),
                Filters(max_size_bytes=2 * MIB),
            ]
        )

    def _play(self, lives: list[LiveRun], *, events: float) -> None:
        """Let the tasks of the runs, and what is left of earlier ones, take turns until the runs have ended."""
        while any(live.phase != "done" for live in lives):
            busy = [(live, task) for live in lives for task in live.tasks if not task.done]
            if self._zombies and self._dice.random() < 0.15:
                zombie = self._dice.choice(self._zombies)
                self._turn(zombie)
                if zombie.ended:
                    self._zombies.remove(zombie)
            elif busy:
                live, task = self._dice.choice(busy)
                self._turn(task.current)
                if task.current.ended:
                    self._end_try(live, task)
                elif live.weather != CALM and self._dice.random() < 0.1 and task.tries < live.most_tries:
                    self.world.note(f"{task.current.name} is given up, and goes on")
                    self._zombies.append(task.current)
                    task.next_try()
            for live in lives:
                if live.phase != "done" and all(task.done for task in live.tasks):
                    self._next_phase(live)
            if self._dice.random() < events:
                self._others.act()

    def _turn(self, actor: Actor) -> None:
        requests = self._dice.choice(
            [FOR_EVER, self._dice.randint(1, 4), self._dice.randint(1, 10), self._dice.randint(1, 30)]
        )
        actor.go(requests)
        if actor.ended:
            error = actor.error
            self.world.note(f"{actor.name} ended: {f'{type(error).__name__}: {error}'[:250] if error else 'success'}")

    def _end_try(self, live: LiveRun, task: Task) -> None:
        """Let Airflow decide on a try that has ended: success, another try, or failure."""
        error = task.current.error
        again = isinstance(error, TransientError | Killed | Cancelled)
        cleared = live.weather != CALM and self._dice.random() < 0.1
        if (again or cleared) and task.tries < live.most_tries:
            task.next_try()
        else:
            task.done = True

    def _next_phase(self, live: LiveRun) -> None:
        if live.phase == "copy":
            are_done = all(task.succeeded for task in live.tasks)
            live.run.tasks_succeeded = live.plan is not None and are_done and not live.is_plan_older
            self._start_report(live)
            return
        last = live.tasks[0]
        if live.phase == "one task":
            self._check_one_task(live, last)
            live.phase = "done"
        elif live.phase == "list":
            if not last.succeeded:
                live.phase = "done"
                return
            live.pointer = ManifestPointer.from_dict(json.loads(json.dumps(last.current.result)))
            live.listed = (last.current.started_at, last.current.ended_at)
            if live.listed_alone:
                # The plan stays the one of the first listing; what only the second one holds is unplanned.
                live.is_plan_older = True
                live.run.tasks_succeeded = False
                self._start_report(live)
                return
            if live.plan is None:
                # Until a plan succeeds, the report is of whatever plan a try has left, of any of the listings.
                live.run.listing = (live.run.listing[0] or live.listed[0], live.listed[1])
            self._start_plan(live)
        elif live.phase == "plan":
            self._take_plan(live, last)
            self._start_copies(live)
        else:
            if last.succeeded:
                self._check(live, last.current)
            live.phase = "done"
            self._clear(live)

    def _start_listing(self, live: LiveRun) -> None:
        live.phase = "list"
        live.tasks = [self._task(live, f"list{live.clears}", tasks.list_bucket)]

    def _start_plan(self, live: LiveRun) -> None:
        live.phase = "plan"
        live.tasks = [self._task(live, f"plan{live.clears}", tasks.plan)]

    def _take_plan(self, live: LiveRun, task: Task) -> None:
        live.batches = ()
        live.run.plan_failures = 1 << 30
        if task.succeeded:
            plan: Plan = task.current.result
            live.plan = plan
            live.is_plan_older = False
            live.run.listing = live.listed
            live.batches = tuple(json.loads(json.dumps([batch.as_dict() for batch in plan.batches])))
            live.run.planning = (task.current.started_at, task.current.ended_at)
            live.run.joined = plan.joined
            live.run.plan_failures = sum(amount.objects for amount in plan.failed.values())

    def _start_copies(self, live: LiveRun) -> None:
        live.phase = "copy"
        live.tasks = [
            self._task(live, f"copy{live.clears}-{batch['index']}", partial(tasks.copy, batch=batch), CopyActor)
            for batch in live.batches
        ]

    def _start_report(self, live: LiveRun) -> None:
        live.phase = "report"
        # Until a try of this report succeeds, no report counts.
        self._reports.pop(live.run.name, None)
        live.tasks = [self._task(live, f"report{live.clears}", tasks.report)]

    def _clear(self, live: LiveRun) -> None:
        """Run a part of a run that has ended again, as a person may."""
        if live.weather == CALM or live.clears >= 2 or self._dice.random() > 0.3:
            return
        live.clears += 1
        kind = self._dice.choice(["listing", "listing alone", "plan", "copies", "report"])
        self.world.note(f"{live.run.name}: clear {kind}")
        live.listed_alone = kind == "listing alone" and live.plan is not None
        if kind.startswith("listing"):
            self._start_listing(live)
        elif kind == "plan" and live.pointer:
            self._start_plan(live)
        elif kind == "copies" and live.plan:
            self._start_copies(live)
        elif live.pointer:
            self._start_report(live)

    def _check(self, live: LiveRun, actor: Actor) -> None:
        report: Report = actor.result
        rows, green = rows_of(live.run.files), report.error() is None
        check = ReportCheck(self.world, live.run, rows, green=green, ended_at=self.world.now)
        check.check()
        check.check_summary(summary_of(live.run.files))
        self._reports[live.run.name] = live.run.files, summary_of(live.run.files)
        self.green += green
        self.world.note(f"{live.run.name}: {'green' if green else 'red'} {report.counts}")

    def _check_one_task(self, live: LiveRun, task: Task) -> None:
        """Check what the last try has told the user, unless it failed as a whole."""
        actor = task.current
        if not isinstance(actor, CopyActor) or actor.result is None:
            return
        rows, green = actor.result
        run = replace(live.run, listing=actor.listing, planning=actor.planning)
        ReportCheck(self.world, run, rows, green=green, ended_at=self.world.now).check()
        self.green += green

    def _task(self, live: LiveRun, label: str, work: Callable[[LiveRun, Any], Any], kind: type[Actor] = Actor) -> Task:
        def start(name: str, number: int) -> Actor:
            dice, run = self._dice, live.run
            actor = kind(
                self.world,
                name,
                partial(work, live),
                dice=dice,
                # Airflow goes on counting the tries of a task that is cleared.
                number=live.clears * live.most_tries + number,
                weather=live.weather,
                files=run.files,
                integrity=run.settings.integrity,
            )
            if isinstance(actor, CopyActor):
                actor.writes = WriteCheck(self.world, run, name, run.planning[1])
            if live.weather != CALM:
                actor.kill_at = dice.randint(1, 60) if dice.random() < 0.2 else 0
                actor.stop_at = dice.randint(1, 60) if dice.random() < 0.1 else 0
            return actor

        return Task(f"{live.run.name}.{label}", start)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let everything that is left of earlier nights come to its end."""
        for zombie in self._zombies:
            zombie.weather = CALM
            zombie.go(FOR_EVER)
            self.world.note(f"{zombie.name} ended at last")
        self._zombies = []
        self.world.let_all_arrive()
        self.world.destination.leased.clear()
        # A week passes for the blocks of other tools.
        for blob, blocks in list(self.world.destination.staged.items()):
            if any(len(block_id) != ID_CHARACTERS for block_id in blocks):
                del self.world.destination.staged[blob]

    def _check_reports(self) -> None:
        """Check that no report that was given up has replaced the one that counts."""
        for name, (files, summary) in self._reports.items():
            if summary_of(files) != summary:
                self.world.break_promise(f"{name}: another report than the one that counts is in the state files")

    def _calm_nights(self) -> None:
        """Run each migration twice without any fault: the first copies what is left, the second sends nothing."""
        for round_number in (1, 2):
            for migration in self._migrations:
                self.world.note(f"-- calm night {round_number} of {migration.name}")
                settings = PlanSettings(
                    s3_prefix=migration.s3_prefix,
                    blob_prefix=migration.blob_prefix,
                    integrity="reread" if self._all_reread else "auto",
                    refused_names="map",
                    split_bytes=MIB,
                    batch_bytes=MIB,
                    max_tasks=6,
                    block_bytes=MIB,
                    memory_budget_bytes=8 * MIB,
                )
                live = self._mapped(Run(migration, f"calm{round_number}-{migration.name}", settings), CALM)
                before = self.world.destination.bytes_staged
                self._play([live], events=0.0)
                self._check_calm(live, self.world.destination.bytes_staged - before if round_number == 2 else 0)

    def _check_calm(self, live: LiveRun, sent: int) -> None:
        run, world = live.run, self.world
        if sent:
            world.break_promise(f"{run.name} sent {sent} bytes, and nothing has changed")
        if not run.files.files.get("receipts.jsonl.gz"):
            world.break_promise(f"{run.name} has no report")
            return
        rows = {row["key"]: row for row in rows_of(run.files)}
        for key, version in world.current(run.migration.bucket).items():
            if not key.startswith(run.migration.s3_prefix):
                continue
            row = rows.get(key)
            if row is None:
                world.break_promise(f"{run.name} does not know {key!r}")
            elif row["status"] == "failed" and not self._is_expected(run, key, row["reason"]):
                world.break_promise(f"{run.name}: nothing is wrong, and {key!r} failed: {row['reason']}")
            elif row["status"] in ("copied", "unchanged") and world.image(row["blob"]).data != version.data:
                world.break_promise(f"{run.name}: blob {row['blob']!r} is not {key!r} ({row['status']})")

    def _is_expected(self, run: Run, key: str, reason: str) -> bool:
        """Return whether an object must fail although nothing goes wrong: its blob cannot be, or belongs to another."""
        blob = run.blob_of(key)
        if reason.startswith("name_refused"):
            return self.world.hierarchical and "" in blob.split("/")
        return reason.startswith("blob_of_another_object") and self.world.image(blob).origin not in (
            None,
            (run.migration.bucket, key),
        )
