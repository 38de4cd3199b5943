"""What sends alerts: the notification block `alerts` of the Prefect server.

It posts JSON with a `text`, which the incoming webhooks of Slack, Mattermost and many others take. A block of that name
that a person has made in the UI, for mail for instance, serves as well.
"""

from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient

BLOCK = "alerts"


def notification_block(client: SyncPrefectClient, address: str | None) -> UUID | None:
    """Return the id of the block `alerts`, made or changed first where there is an address.

    Args:
        client: of the server, the one of `PREFECT_API_URL`.
        address: where alerts are posted, if that is to be said here.

    Returns:
        The id; nothing where there is neither an address nor such a block.
    """
    if address is not None:
        block = CustomWebhookNotificationBlock(
            name=BLOCK,
            url="{{ address }}",  # filled in when an alert is sent: only what is under `secrets` is hidden in the UI
            json_data={"text": "{{ subject }}\n{{ body }}"},
            secrets={"address": address},
        )
        return UUID(str(block.save(BLOCK, overwrite=True)))
    for document in client.read_block_documents():
        if document.name == BLOCK and document.block_schema and "notify" in document.block_schema.capabilities:
            return document.id
    return None
