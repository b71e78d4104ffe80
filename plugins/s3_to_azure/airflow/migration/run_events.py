"""What the report of a run does with announced keys: it settles those of the run, and finds what no event announced."""

from dataclasses import dataclass
from datetime import UTC, datetime

from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.airflow.compat import Context
from s3_to_azure.airflow.migration.params import RunLimits
from s3_to_azure.airflow.migration.run_state import is_started_by_hand
from s3_to_azure.runs.announced import MissedByEvents
from s3_to_azure.state.announced import AnnouncedKeys
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.stores.azure.client import StreamingClient


@dataclass(frozen=True, slots=True)
class RunEvents:
    """The events of a run of a migration that has some.

    Attributes:
        began: When the run began.
        is_listing: The run has listed all that the migration copies, to copy it.
    """

    announced: AnnouncedKeys
    run_id: str
    began: datetime
    is_listing: bool

    @classmethod
    def of(
        cls,
        service: StreamingClient,
        container: str,
        manifest: ManifestPointer,
        context: Context,
        *,
        limits: RunLimits,
    ) -> "RunEvents":
        """Return the events of the task's run.

        Args:
            service: Of the storage account.
            container: The state container.
            manifest: What the run has listed, or looked up.
            context: The task's.
            limits: The migration's.
        """
        instance, dag_run = context["ti"], context["dag_run"]
        # By hand somebody may copy a part: the next listing must not wait for the next period because of it.
        is_whole = not is_started_by_hand(context) or limits.is_of_all(context["params"])
        return cls(
            announced_keys(service, container, instance.dag_id),
            instance.run_id,
            dag_run.start_date or datetime.now(UTC),
            not manifest.looked_up and is_whole,
        )

    def missed(self) -> MissedByEvents | None:
        """Return what finds the objects that no event announced; None for runs of events and the first listing."""
        previous = self.announced.listed_before(self.began) if self.is_listing else None
        if previous is None:
            return None
        return MissedByEvents(self.announced, began=self.began, previous=previous)

    def settle(self) -> None:
        """Note that the run has reported what it took, or that it has listed the bucket; safe to repeat."""
        self.announced.settle(self.run_id, now=datetime.now(UTC))
        if self.is_listing:
            self.announced.note_listing(self.began)
