"""Runs `mine` every night and hands the changes on. Copy it to the DAG folder (Airflow 3; for 2.x see the imports).

What the exit codes of `mine` do:

    0            done: the task `apply` runs
    1, 4, 130    failed, in use, interrupted: tried again three times, and what is finished is not done again
    2, 3         wrong options, refused by a guard: the task `check` fails at once, because only a person can decide
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator  # 2.x: airflow.operators.bash
from airflow.sdk import DAG  # 2.x: from airflow import DAG

# holds nightly.toml, a copy of pipelines/nightly.toml
FOLDER = "/srv/mine"

with DAG(
    dag_id="mine_nightly",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    # The last line that it prints is the exit code, which the next task reads.
    mine = BashOperator(
        task_id="mine",
        cwd=FOLDER,
        bash_command="""
            /usr/local/bin/mine run nightly.toml
            code=$?
            echo $code
            case $code in 0|2|3) exit 0 ;; *) exit $code ;; esac
        """,
        retries=3,
        retry_delay=timedelta(minutes=15),
    )

    check = BashOperator(
        task_id="check",
        cwd=FOLDER,
        bash_command="""
            code={{ ti.xcom_pull(task_ids="mine") }}
            if [ $code -eq 3 ]; then cat mined/.refused/refusal.json; fi
            exit $code
        """,
        retries=0,
    )

    # your job that reads mined/membership_changes.parquet
    apply = BashOperator(
        task_id="apply",
        cwd=FOLDER,
        bash_command="dbt run --select cluster_map",
        retries=2,
    )

    mine >> check >> apply
