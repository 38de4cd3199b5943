"""What sends alerts: a notification block of the Prefect server.

With a webhook, the block `alerts` posts JSON with a `text`, which the incoming webhooks of Slack, Mattermost and many
others take. A block of that name that a person has made in the UI, for mail for instance, serves as well. Without
either, alerts become artifacts of the server itself, which the start page leads to.
"""

import base64
from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING

BLOCK = "alerts"
OWN_BLOCK = "alerts-as-artifacts"
ARTIFACT = "alerts"


def notification_block(client: SyncPrefectClient, address: str | None) -> UUID:
    """Return the id of the block that sends.

    Args:
        client: of the server, the one of `PREFECT_API_URL`.
        address: where alerts are posted, if that is to be said here.

    Returns:
        The id of the block `alerts`, made or changed first where there is an address; where there is neither an
        address nor such a block, that of a block that makes artifacts.
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
    login = PREFECT_API_AUTH_STRING.value()
    encoded = base64.b64encode(login.encode()).decode() if login else ""
    own = CustomWebhookNotificationBlock(
        name=OWN_BLOCK,
        url=f"{client.api_url}artifacts/",
        headers={"Authorization": "Basic {{ login }}"} if login else None,
        json_data={
            "key": ARTIFACT, "type": "markdown", "data": "{{ subject }}\n\n{{ body }}", "description": "{{ subject }}",
        },
        secrets={"login": encoded},
    )  # fmt: skip
    return UUID(str(own.save(OWN_BLOCK, overwrite=True)))
