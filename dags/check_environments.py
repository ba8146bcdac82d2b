"""Shows what is wrong with environment files as Airflow's import error, and nothing else.

An import error marks every DAG of its file as broken. So it is raised here, in a file without DAGs,
and rolling_deployment.py loads the environments that are right.
"""

from pathlib import Path

from bakeroll.core.config import load_all
from bakeroll.core.errors import ConfigError

ENVIRONMENTS = Path(__file__).parent / "environments"  # read while Airflow parses this DAG file

_, errors = load_all(ENVIRONMENTS)
if errors:
    raise ConfigError(
        "\n".join(str(error).replace(f"{ENVIRONMENTS.parents[1]}/", "") for error in errors.values())
    )
