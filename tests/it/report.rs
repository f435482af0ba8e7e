//! `report.html`: hostile texts stay text, the page asks nothing of the network, and its search works in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// Questions in pairs that become clusters, among them every kind of text that could break a page.
fn hostile_corpus(path: &Path, beacon: &str) {
    let pixel = format!("<img src=http://{beacon}/a onerror=alert(1)>");
    let script = "</script><script>document.title='owned'</script>";
    let texts = [
        pixel.as_str(),
        script,
        "<!-- <style>body{display:none}</style>",
        "how do i learn guitar",
        "\u{202e}how do i learn\u{202c} guitar \u{7}",
        "{{ title }} {% include \"x\" %} ${1+1} & &amp; ' \" `",
        "כיצד לומדים גיטרה במהירות?",
    ];
    let long = "how do i learn guitar ".repeat(5000);
    let mut all: Vec<String> = Vec::new();
    for text in texts.into_iter().chain([long.as_str()]) {
        // white space alone makes two copies of every text, so that each is in a cluster
        all.extend([text.to_string(), format!("{text} ")]);
    }
    write_questions(path, &all.iter().map(String::as_str).collect::<Vec<_>>());
}

fn page(output: &Path) -> String {
    std::fs::read_to_string(output.join("report.html")).unwrap()
}

/// A Chromium to test with: `$CHROMIUM`, or one on the PATH.
pub fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let on_path = || {
        let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
        let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
        folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
    };
    let found = named.or_else(on_path);
    if found.is_none() {
        skipped("no Chromium on the PATH or in $CHROMIUM");
    }
    found
}

/// The page as the browser has it after its script ran, what it logged, and every address it asked for.
pub struct Visit {
    pub dom: String,
    pub log: String,
    requests: Vec<String>,
}

pub fn visit(browser: &Path, work: &Path, page: &Path, hash: &str) -> Visit {
    let net_log = work.join("net.json");
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        // the browser's own errands do not leave the machine either; the beacon is on it
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .args(["--disable-component-update", "--no-first-run", "--enable-logging=stderr", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", work.join("profile").display()))
        .arg(format!("--log-net-log={}", net_log.display()))
        .args(["--dump-dom", &format!("file://{}{hash}", page.display())])
        .output()
        .unwrap();
    let requests = std::fs::read_to_string(&net_log).unwrap_or_default();
    let requests = requests.split("\"url\":\"").skip(1).filter_map(|rest| rest.split('"').next()).map(String::from);
    let requests = requests.filter(|url| url.starts_with("http")).collect();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Visit { dom: String::from_utf8_lossy(&output.stdout).into_owned(), log, requests }
}

#[test]
fn in_a_browser_nothing_leaves_the_page_and_the_search_works() {
    let Some(browser) = chromium() else { return };
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let beacon = listener.local_addr().unwrap().to_string();
    hostile_corpus(&input, &beacon);
    mine_ok(&tiny(text(&input), text(&output), &[]));

    let seen = visit(&browser, work.path(), &output.join("report.html"), "#q=%3Cscript");
    assert!(!seen.dom.is_empty(), "{}", seen.log);
    assert!(!seen.log.contains("CONSOLE"), "the console is silent: {}", seen.log);
    assert!(listener.accept().is_err(), "a question reached the network");
    assert!(!seen.requests.iter().any(|url| url.contains(&beacon)), "{:?}", seen.requests);
    assert!(seen.dom.contains("<title>Duplicate questions in q.parquet</title>"), "no text ran as a script");
    assert!(!seen.dom.contains("<img"), "markup in a question stays text");
    let results = seen.dom.split("id=\"search-results\"").nth(1).unwrap().split("<noscript").next().unwrap();
    assert!(seen.dom.contains(">1 cluster</p>"), "the address carries a search");
    assert!(results.contains("<mark>&lt;script</mark>") && !results.contains("guitar"), "{results}");

    // a page with a script of someone else's is stopped by the policy, so that the test above can fail
    let tampered = work.path().join("tampered.html");
    let injected = page(&output).replace("</main>", "<script>document.title='owned'</script></main>");
    std::fs::write(&tampered, injected).unwrap();
    let seen = visit(&browser, work.path(), &tampered, "");
    assert!(!seen.dom.contains("<title>owned</title>") && seen.log.contains("CONSOLE"), "{}", seen.log);
}

#[test]
fn hostile_texts_are_escaped_shown_by_name_and_cut() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    hostile_corpus(&input, "example.invalid");
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let page = page(&output);
    assert_eq!(page.matches("<script").count(), 2, "the data and the page's own");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<img") && !page.contains("<!-- <style"));
    assert!(!page.contains(['\u{202e}', '\u{7}']), "direction and control characters do not get through");
    assert!(page.contains("⟨U+202E⟩how do i learn⟨U+202C⟩ guitar ␇"));
    assert!(page.contains("… (110,000 characters)"), "cut, and it says so");
    assert!(page.contains("default-src 'none'") && !page.contains("unsafe-inline"));
    assert!(page.len() < 200_000, "{}", page.len());
}

#[test]
fn labels_draw_curves_and_bad_ones_are_refused() {
    let work = folder();
    let (output, labels) = (work.path().join("out"), work.path().join("labels.csv"));
    let input = work.path().join("q.parquet");
    std::fs::copy(repo("fixtures/questions.parquet"), &input).unwrap();
    mine_ok(&tiny(text(&input), text(&output), &[]));
    assert!(!page(&output).contains("Against your labels"));
    let pairs = read(&output.join("pairs.parquet"));
    let (a, b, p) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), f32s(&pairs, "probability"));
    let mut csv = String::from("id_a,id_b,is_duplicate,weight\n");
    for row in 0..pairs.num_rows() {
        // labels that the scores separate at 0.8, half of them written the other way round
        let (a, b) = if row % 2 == 0 { (a[row], b[row]) } else { (b[row], a[row]) };
        csv += &format!("{a},{b},{},{}\n", u8::from(p[row].unwrap() >= 0.8), 1 + row % 3);
    }
    std::fs::write(&labels, format!("{csv}{},{},,\n", a[0], 424242)).unwrap();
    let custom = work.path().join("with-labels.html");
    mine_ok(&["report", text(&output), "--labels", text(&labels), "--output", text(&custom)]);
    let page = std::fs::read_to_string(&custom).unwrap();
    assert!(page.contains("Against your labels") && page.contains("aria-label=\"Precision over recall\""));
    assert!(
        page.contains("<dt>average precision</dt><dd>1.000</dd>") && page.contains("<dt>best F1</dt><dd>1.000 at 0.8")
    );
    assert!(page.contains("<dt>precision at the threshold</dt><dd>100.0 %</dd>"), "0.9 is above every negative");
    assert!(page.contains("1 without a label, 0 with unknown ids"));

    // ids are then numbered by appearance: a pair's first question may have the higher number
    let gone = work.path().join("gone.html");
    std::fs::remove_file(&input).unwrap();
    mine_ok(&["report", text(&output), "--labels", text(&labels), "--output", text(&gone)]);
    let page = std::fs::read_to_string(&gone).unwrap();
    assert!(page.contains("<dt>average precision</dt><dd>1.000</dd>") && page.contains("0 with unknown ids"));
    assert!(!page.contains("not scored"), "every labelled pair is one of the run");

    let refused = |content: &str, message: &str| {
        std::fs::write(&labels, content).unwrap();
        let error = mine_fails(&["report", text(&output), "--labels", text(&labels), "--output", text(&custom)], 1);
        assert!(error.contains(message), "{error}");
    };
    let id = a[0];
    refused("id_a,id_b\n", "no label for this run: 0 rows without a label");
    refused(
        &format!("id_a,id_b,is_duplicate\n{id},{},2\n", b[0]),
        "line 2: is_duplicate is \"2\", expected 1, 0, true, false or nothing",
    );
    refused(
        &format!("id_a,id_b,is_duplicate,weight\n{id},{},1,-1\n", b[0]),
        "line 2: weight is -1, expected a positive number",
    );
    refused(
        &format!("id_a,id_b,is_duplicate\n{id},424242,1\n"),
        "no label for this run: 0 rows without a label, 1 with a question that the run does not have",
    );
}

#[test]
fn every_run_leaves_a_report_and_a_cross_encoder_shows_in_it() {
    let work = folder();
    let (output, cross) = (work.path().join("out"), repo("fixtures/models/tiny-bert-cross"));
    let input = repo("fixtures/questions.parquet");
    let more = ["--cross-encoder", text(&cross), "--threshold", "0.6", "--rerank-budget", "100"];
    mine_ok(&tiny(text(&input), text(&output), &more));
    let written = page(&output);
    assert!(written.contains("Probability of a duplicate") && written.contains("Scored by the cross-encoder"));
    assert!(written.contains("The run warned") && written.contains("left by the budget"));
    assert!(written.contains("<dt>rerank-budget</dt><dd><bdi>100</bdi> <span class=\"muted\">instead of –</span>"));
    // read back from the files it is the same page
    std::fs::remove_file(output.join("report.html")).unwrap();
    mine_ok(&["report", text(&output)]);
    assert_eq!(page(&output), written);
}
