"""What the store says of a snapshot goes along with its rows."""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column in the schema that is being upgraded; it is empty until the next publishing."""
    schema = context.config.attributes["schema"]
    op.add_column(
        "published_snapshots",
        sa.Column("manifest", postgresql.JSON(), nullable=True),
        schema=schema,
    )
