//! The recipes of docs/recipes and the snippets of docs/nightly.md do what they say, as far as their tools are here.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use serde_json::Value;

use crate::support::*;

/// How `mine` can end.
const CODES: [i32; 6] = [0, 1, 2, 3, 4, 130];

/// Where the recipes expect the program and its folder.
const PROGRAM: &str = "/usr/local/bin/mine";
const FOLDER: &str = "/srv/mine";

fn recipe(name: &str) -> String {
    let path = repo("docs/recipes").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A command, `None` (and a line that says so) if this machine lacks the program.
fn started(program: &str, arguments: &[&str], work: &Path) -> Option<Output> {
    let output = Command::new(program).args(arguments).current_dir(work).output();
    output.inspect_err(|e| skipped(&format!("{program} does not start ({e})"))).ok()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `script` in Python, which must succeed. `None` if a module that it `needs` is not there.
fn python(needs: &str, script: &str, work: &Path) -> Option<String> {
    if !started("python3", &["-c", &format!("import {needs}")], work)?.status.success() {
        skipped(&format!("python3 cannot import {needs}"));
        return None;
    }
    let output = started("python3", &["-c", script], work)?;
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(stdout(&output))
}

/// A folder with the nightly pipeline for a small model, and the questions of the fixture.
fn nightly_folder() -> tempfile::TempDir {
    let work = folder();
    let model = repo("fixtures/models/tiny-bert");
    let small = format!("bi-encoder = {:?}\ncross-encoder = \"none\"\nmin-cosine = 0.7\n", text(&model));
    let pipeline = std::fs::read_to_string(repo("pipelines/nightly.toml")).unwrap();
    std::fs::write(work.path().join("nightly.toml"), pipeline + &small + "threshold = 0.9\n").unwrap();
    std::fs::copy(repo("fixtures/questions.parquet"), work.path().join("questions.parquet")).unwrap();
    work
}

/// A command of a recipe, under `shell`, with its folder and its program replaced.
fn shell(shell: &str, typed: &str, program: &str, work: &Path) -> Output {
    let typed = typed.replace(PROGRAM, program).replace(FOLDER, text(work));
    started(shell, &["-c", &typed], work).expect("a shell starts")
}

/// The same with a stand-in for `mine`, which says its arguments and ends with `code`.
fn shell_with_code(shell: &str, typed: &str, code: i32, work: &Path) -> Output {
    let stand_in = format!("mine() {{ echo \"ran $*\"; return {code}; }}\n{typed}");
    self::shell(shell, &stand_in, "mine", work)
}

#[test]
fn every_flag_of_the_recipes_exists() {
    let help = String::from_utf8(mine(&["run", "--help"]).stdout).unwrap();
    let known: Vec<&str> = help.split([' ', '\n', ',', '=']).collect();
    let mut checked = 0;
    for entry in std::fs::read_dir(repo("docs/recipes")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let of_others = |line: &str| ["cargo ", "dbt ", "systemctl ", "--vars"].iter().any(|word| line.contains(word));
        for line in recipe(&name).lines().filter(|line| !of_others(line)) {
            for flag in line.split([' ', '"', '`', '\'']).filter(|word| word.starts_with("--") && word.len() > 2) {
                assert!(known.contains(&flag), "{name}: {flag} is no flag of mine:\n{line}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 2, "only {checked} flags were found");
}

#[test]
fn the_nightly_pipeline_is_read_to_its_end() {
    let work = folder();
    let input = format!("input={}", text(&repo("fixtures/questions.parquet")));
    let pipeline = repo("pipelines/nightly.toml");
    let arguments = ["run", text(&pipeline), "--set", &input, "--plan"];
    let output = command(&arguments).current_dir(work.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_crontab_logs_and_writes_a_mail_if_a_person_is_needed() {
    let crontab = recipe("mine-nightly.cron");
    let mut lines = crontab.lines().filter(|line| !line.starts_with('#') && !line.starts_with("MAILTO="));
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None);
    let (times, typed) = line.match_indices(' ').nth(4).map(|(at, _)| line.split_at(at)).unwrap();
    assert!(times.split(' ').count() == 5 && times.chars().all(|c| " *,-/".contains(c) || c.is_ascii_digit()));
    assert!(!typed.contains('%'), "cron ends a command at a %");
    for code in CODES {
        let work = folder();
        let mail = stdout(&shell_with_code("sh", typed, code, work.path()));
        assert_eq!(mail.is_empty(), code == 0 || code == 4, "{code}: {mail}");
        assert_eq!(std::fs::read_to_string(work.path().join("nightly.log")).unwrap(), "ran run nightly.toml\n");
    }
    // a night, and a broken export
    let work = nightly_folder();
    let run = || stdout(&shell("sh", typed, env!("CARGO_BIN_EXE_mine"), work.path()));
    assert_eq!(run(), "");
    assert!(work.path().join("mined/clusters.parquet").is_file());
    write_questions(&work.path().join("questions.parquet"), &["What is left?"]);
    let mail = run();
    assert!(mail.contains("error: --max-deleted: "), "{mail}");
    assert!(work.path().join("mined/.refused/gone.parquet").is_file());
}

/// The value of a key in a section of a systemd unit.
fn unit_value<'a>(unit: &'a str, section: &str, key: &str) -> &'a str {
    let mut lines = unit.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.starts_with('['));
    let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{section} has no {key}:\n{unit}"))
}

#[test]
fn the_systemd_units_run_the_pipeline() {
    let (service, timer) = (recipe("mine-nightly.service"), recipe("mine-nightly.timer"));
    assert_eq!(unit_value(&service, "[Service]", "Type"), "oneshot");
    assert_eq!(unit_value(&service, "[Service]", "WorkingDirectory"), FOLDER);
    assert_eq!(unit_value(&service, "[Service]", "Restart"), "on-failure");
    assert_eq!(unit_value(&service, "[Service]", "RestartPreventExitStatus"), "2 3");
    assert_eq!(unit_value(&service, "[Service]", "SuccessExitStatus"), "130");
    assert_eq!(unit_value(&timer, "[Timer]", "Persistent"), "true");
    assert_eq!(unit_value(&timer, "[Install]", "WantedBy"), "timers.target");
    unit_value(&timer, "[Timer]", "OnCalendar");
    unit_value(&service, "[Unit]", "Description");

    let work = nightly_folder();
    let typed = unit_value(&service, "[Service]", "ExecStart");
    let output = shell("sh", typed, env!("CARGO_BIN_EXE_mine"), work.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let service = service.replace(PROGRAM, env!("CARGO_BIN_EXE_mine"));
    std::fs::write(work.path().join("mine-nightly.service"), service).unwrap();
    std::fs::write(work.path().join("mine-nightly.timer"), timer).unwrap();
    let arguments = ["verify", "./mine-nightly.service", "./mine-nightly.timer"];
    if let Some(output) = started("systemd-analyze", &arguments, work.path()) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("mine-nightly"), "{said}");
    }
}

#[test]
fn the_github_action_runs_the_pipeline_and_passes_the_exit_code_on() {
    let work = folder();
    std::fs::write(work.path().join("workflow.yml"), recipe("nightly-github-action.yml")).unwrap();
    let script = "import json, yaml; print(json.dumps(yaml.load(open('workflow.yml'), yaml.BaseLoader)))";
    let Some(workflow) = python("yaml", script, work.path()) else { return };
    let workflow: Value = serde_json::from_str(&workflow).unwrap();
    assert_eq!(workflow["on"]["schedule"][0]["cron"].as_str().map(|cron| cron.split(' ').count()), Some(5));
    let steps = workflow["jobs"]["mine"]["steps"].as_array().unwrap();
    let run = steps.iter().find(|step| step["id"] == "run").unwrap();
    let typed = run["run"].as_str().unwrap();
    for code in CODES {
        // GitHub starts a step with `shell: bash` with these options
        let typed = format!("set -eo pipefail; GITHUB_OUTPUT=out ACCEPT='--max-deleted 60%'\n{typed}");
        let output = shell_with_code("bash", &typed, code, work.path());
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with("ran run pipelines/nightly.toml --max-deleted 60%\n"), "{said}");
        assert_eq!(said.contains("::error::"), code == 3);
        assert!(std::fs::read_to_string(work.path().join("out")).unwrap().ends_with(&format!("code={code}\n")));
    }
}

/// Stands in for Airflow: collects the tasks of the DAG and prints them.
const AIRFLOW: &str = r"
import json, py_compile, sys, types
tasks, order = {}, []
class DAG:
    def __init__(self, dag_id, **options): assert options['catchup'] is False and options['max_active_runs'] == 1
    def __enter__(self): return self
    def __exit__(self, *_): pass
class BashOperator:
    def __init__(self, task_id, bash_command, cwd, retries, retry_delay=None):
        self.task_id = task_id
        tasks[task_id] = {'command': bash_command, 'cwd': cwd, 'retries': retries}
    def __rshift__(self, other):
        order.append([self.task_id, other.task_id])
        return other
for name in ['airflow', 'airflow.sdk', 'airflow.providers', 'airflow.providers.standard',
             'airflow.providers.standard.operators', 'airflow.providers.standard.operators.bash']:
    sys.modules[name] = types.ModuleType(name)
sys.modules['airflow.sdk'].DAG = DAG
sys.modules[name].BashOperator = BashOperator
py_compile.compile('dag.py', doraise=True)
exec(open('dag.py').read())
print(json.dumps({'tasks': tasks, 'order': order}))
";

#[test]
fn the_airflow_dag_tries_again_only_what_can_succeed() {
    let work = folder();
    std::fs::write(work.path().join("dag.py"), recipe("nightly_airflow_dag.py")).unwrap();
    let Some(dag) = python("json", AIRFLOW, work.path()) else { return };
    let dag: Value = serde_json::from_str(&dag).unwrap();
    assert_eq!(dag["order"], serde_json::json!([["mine", "check"], ["check", "apply"]]));
    let task = |name: &str| {
        assert_eq!(dag["tasks"][name]["cwd"], FOLDER);
        dag["tasks"][name]["command"].as_str().unwrap().to_string()
    };
    assert!(dag["tasks"]["mine"]["retries"].as_u64() > Some(0));
    assert_eq!(dag["tasks"]["check"]["retries"], 0);
    let refused = work.path().join("mined/.refused");
    std::fs::create_dir_all(&refused).unwrap();
    std::fs::write(refused.join("refusal.json"), "what was found").unwrap();
    for code in CODES {
        let ran = shell_with_code("bash", &task("mine"), code, work.path());
        let needs_a_person = code == 2 || code == 3;
        assert_eq!(ran.status.code(), Some(if needs_a_person { 0 } else { code }));
        // Airflow hands the last line on
        let said = stdout(&ran);
        let typed = task("check").replace("{{ ti.xcom_pull(task_ids=\"mine\") }}", said.lines().last().unwrap());
        let checked = shell("bash", &typed, "", work.path());
        assert_eq!(checked.status.code(), Some(code));
        assert_eq!(stdout(&checked).contains("what was found"), code == 3);
    }
}

/// Applies `mined` to the tables of the snippets in docs/nightly.md and of the dbt model, and requires what `today` has.
const APPLY: &str = r#"
import re, duckdb, jinja2, pandas as pd
snippets = {}
for language, snippet in re.findall(r"```(python|sql)\n(.*?)```", open("nightly.md").read(), re.S):
    snippets.setdefault(language, snippet)
exec(snippets["python"])
db = duckdb.connect("tables.duckdb")
db.execute(snippets["sql"])
tables = {row[0] for row in db.execute("select table_name from information_schema.tables").fetchall()}
model = jinja2.Template(open("cluster_map.sql").read()).render(
    var=lambda name, default: default, config=lambda **_: "", this="dbt_map",
    is_incremental=lambda: "dbt_map" in tables)
db.execute("create temp table fresh as " + model)
if "dbt_map" in tables:
    db.execute("delete from dbt_map where id in (select id from fresh); insert into dbt_map from fresh")
else:
    db.execute("create table dbt_map as from fresh")
def rows(table): return sorted(table[["id", "cluster_id"]].itertuples(index=False, name=None))
today = rows(pd.read_parquet("today.parquet"))
assert rows(pd.read_parquet("cluster_map.parquet")) == today, "pandas"
assert rows(db.execute("from cluster_map").df()) == today, "DuckDB"
assert rows(db.execute("from dbt_map where cluster_id is not null").df()) == today, "dbt"
"#;

#[test]
fn the_snippets_and_the_dbt_model_follow_the_changes() {
    let work = folder();
    let path = |name: &str| work.path().join(name);
    std::fs::copy(repo("docs/nightly.md"), path("nightly.md")).unwrap();
    std::fs::write(path("cluster_map.sql"), recipe("cluster_map.sql")).unwrap();
    let (input, mined, run) = (path("q.parquet"), path("mined"), path("run"));
    let names = ["Paris", "Rome", "Berlin", "Madrid", "Athens", "Vienna", "Prague", "Warsaw"];
    let question = |verb: &str, name: &str| format!("How do I {verb} {name} in winter?");
    // two versions are kept; the tables miss one in which questions join that leave in the next, then one that is gone
    let nights: [&[&str]; 7] =
        [&["see"], &["see", "visit"], &["see", "visit", "buy"], &["see"], &["buy"], &["buy", "visit"], &["see", "buy"]];
    for (night, verbs) in nights.into_iter().enumerate() {
        let texts: Vec<String> = verbs.iter().flat_map(|verb| names.iter().map(|name| question(verb, name))).collect();
        write_questions(&input, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        mine_ok(&tiny(text(&input), text(&run), &["--force", "--keep-versions", "2"]));
        if [2, 4, 5].contains(&night) {
            continue;
        }
        copy_folder(&run, &mined);
        std::fs::copy(run.join("clusters.parquet"), path("today.parquet")).unwrap();
        if (1..=3).contains(&night) {
            // the changes must be enough: whoever loads the whole table gets another one
            let wrong: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
            write_parquet(&mined.join("clusters.parquet"), vec![("id", wrong.clone()), ("cluster_id", wrong)], 1);
        }
        if python("duckdb, jinja2, pandas, pyarrow", APPLY, work.path()).is_none() {
            return;
        }
    }
}
