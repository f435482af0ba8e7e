{#
  A dbt model: one row per question that is, or was, in a cluster of `mine`. `dbt run --select cluster_map` after each run.

    id          the question
    cluster_id  its cluster; null if it is in none any more, because dbt adds and replaces rows but deletes none
    version     the version of the results that said so

  `select id, cluster_id from cluster_map where cluster_id is not null` is today's clusters.parquet.

  Written for dbt-duckdb, which reads the files where they are: `--vars '{mined: /srv/mine/mined}'`. On another warehouse,
  load the two files into tables and put their names here. If the warehouse cannot `delete+insert`, use `merge`.
#}
{% set changes = "'" ~ var('mined', 'mined') ~ "/membership_changes.parquet'" %}
{% set clusters = "'" ~ var('mined', 'mined') ~ "/clusters.parquet'" %}

{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}

{% if is_incremental() %}

-- if versions are missing between this table and the changes, the whole of clusters.parquet is taken
with state as (
    select
        done.version as done,
        kept.newest,
        coalesce(kept.oldest > done.version + 1 or kept.newest < done.version, true) as is_behind
    from (select max(version) as version from {{ this }}) as done
    cross join (select min(version) as oldest, max(version) as newest from {{ changes }}) as kept
),

-- a question changes at most once in a version
last_changes as (
    select id, to_cluster_id, version, row_number() over (partition by id order by version desc) as nth
    from {{ changes }}
    where version > (select done from state)
)

select id, to_cluster_id as cluster_id, version
from last_changes
where nth = 1 and not (select is_behind from state)

union all

select coalesce(now.id, before.id) as id, now.cluster_id, coalesce(state.newest, 0) as version
from {{ clusters }} as now
full join {{ this }} as before on before.id = now.id
cross join state
where state.is_behind

{% else %}

select id, cluster_id, (select coalesce(max(version), 0) from {{ changes }}) as version
from {{ clusters }}

{% endif %}
