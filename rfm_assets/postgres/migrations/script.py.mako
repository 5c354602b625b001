"""${message}"""

import sqlalchemy as sa
from alembic import context, op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables of the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    ${upgrades if upgrades else "pass"}
