//! `mine split`: what goes where, and what is told of it.

use std::path::Path;

use arrow::array::AsArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::support::*;

#[test]
fn splits_keep_questions_apart_and_say_how_they_were_drawn() {
    let work = folder();
    let output = work.path().join("split");
    let input = work.path().join("pairs.csv");
    let rows: String = (0..200).map(|n| format!("q{n},q{},{}\n", n + 1000, n % 3 / 2)).collect();
    std::fs::write(&input, format!("question1,question2,is_duplicate\n{rows},x,1\n")).unwrap();
    let split = ["split", "--input", text(&input), "--output", text(&output)];
    let said = mine_ok(&split);
    assert!(said.contains("1 row left out") && said.contains("train.parquet: 160 pairs"), "{said}");
    let rows = |part: &str| read(&output.join(format!("{part}.parquet"))).num_rows();
    assert_eq!((rows("train"), rows("dev"), rows("test"), rows("skipped")), (160, 20, 20, 1));
    assert!(mine_fails(&split, 1).contains("exists already"));
    let bytes = std::fs::read(output.join("dev.parquet")).unwrap();
    mine_ok(&[&split[..], &["--force"]].concat());
    assert!(bytes == std::fs::read(output.join("dev.parquet")).unwrap());
    let train = output.join("train.parquet");
    let again = ["split", "--input", text(&train), "--output", text(&output), "--force"];
    assert!(mine_fails(&again, 1).contains("train.parquet is the input and would be replaced"));
    assert!(bytes == std::fs::read(output.join("dev.parquet")).unwrap());
    assert!(mine_fails(&[&split[..], &["--force", "--ratios", "1,2"]].concat(), 2).contains("--ratios"));
}

/// What the footer of a part says of how it was drawn.
fn drawn(part: &Path) -> Value {
    let reader = SerializedFileReader::new(std::fs::File::open(part).unwrap()).unwrap();
    let entries = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let entry = entries.into_iter().find(|entry| entry.key == "dupmine.split").unwrap();
    serde_json::from_str(&entry.value.unwrap()).unwrap()
}

/// `(question1, question2, label, natural)` of a part.
fn rows(part: &Path) -> Vec<(String, String, i64, bool)> {
    let batch = read(part);
    let natural = batch.column_by_name("natural").unwrap().as_boolean();
    let texts = strings(&batch, "question1").into_iter().zip(strings(&batch, "question2"));
    let labels = i64s(&batch, "is_duplicate").into_iter().zip(natural.iter().map(Option::unwrap));
    texts.zip(labels).map(|((a, b), (label, natural))| (a, b, label, natural)).collect()
}

#[test]
fn pairs_can_be_drawn_one_by_one_and_their_labels_imply_others() {
    let work = folder();
    let (input, output) = (work.path().join("pairs.csv"), work.path().join("split"));
    // fifty clusters of four questions, each a chain with a contradiction, and others between them
    let chain = |n: u32| format!("a{n},b{n},1\nb{n},c{n},1\nc{n},d{n},1\na{n},d{n},0\nd{n},a{},0\n", n + 100);
    let text_of_rows: String = (0..50).map(chain).collect();
    std::fs::write(&input, format!("question1,question2,is_duplicate\n{text_of_rows}")).unwrap();
    let split = ["split", "--input", text(&input), "--output", text(&output), "--by", "pairs", "--subset", "200"];
    let said = mine_ok(&[&split[..], &["--augment", "--seed", "7"]].concat());
    assert!(said.contains("augmented: ") && said.contains("contradictions: "), "{said}");
    let part = |name: &str| output.join(format!("{name}.parquet"));
    let (train, dev, test) = (rows(&part("train")), rows(&part("dev")), rows(&part("test")));
    assert_eq!((dev.len(), test.len()), (20, 20));
    assert_eq!(dev.iter().filter(|row| row.2 == 1).count(), 12, "both labels keep their share");
    // nothing that measures is learnt, whichever way round
    let unordered = |(a, b, ..): &(String, String, i64, bool)| (a.min(b).clone(), a.max(b).clone());
    let learnt: Vec<_> = train.iter().map(unordered).collect();
    assert!(dev.iter().chain(&test).all(|row| !learnt.contains(&unordered(row))));
    assert!(train.iter().any(|row| !row.3 && row.2 == 1), "implied pairs are marked as added");
    let contradictions = rows(&part("contradictions"));
    assert!(!contradictions.is_empty() && contradictions.iter().all(|row| row.2 == 0));
    assert!(contradictions.iter().all(|row| !train.contains(row)));
    let told = drawn(&part("train"));
    assert_eq!(
        (told["seed"].as_u64(), told["by"].as_str(), told["subset"].as_u64()),
        (Some(7), Some("pairs"), Some(200))
    );
    assert_eq!((told["augment"].as_bool(), drawn(&part("dev"))["augment"].as_bool()), (Some(true), Some(false)));
    // what the next split does not have goes with --force
    mine_ok(&[&split[..], &["--force"]].concat());
    assert!(!part("contradictions").exists());
    let error = mine_fails(&[&split[..7], &["--subset", "1000", "--force"]].concat(), 2);
    assert!(error.contains("--subset is 1000") && error.contains("has 250 pairs"), "{error}");
}

#[test]
fn rows_that_are_none_are_counted_and_listed() {
    let work = folder();
    let output = work.path().join("split");
    let good = |n: u32| format!("{{\"question1\":\"q{n}\",\"question2\":\"r{n}\",\"is_duplicate\":{}}}\n", n % 2);
    let lines: String = (0..20).map(good).collect();
    let json = work.path().join("pairs.jsonl");
    std::fs::write(&json, format!("{lines}no json\n[1]\n{{\"question1\":[\"x\"]}}\n")).unwrap();
    let tsv = work.path().join("pairs.tsv");
    let lines: String = (0..20).map(|n| format!("q{n}\tr{n}\t{}\n", n % 2)).collect();
    std::fs::write(&tsv, format!("question1\tquestion2\tis_duplicate\n{lines}short\trow\nx\ty\tmaybe\n")).unwrap();
    for (input, count, reasons) in [
        (&json, 3, ["line 21", "not JSON", "expected a JSON object"]),
        (&tsv, 2, ["line 22", "2 fields, expected 3", "is maybe, expected 0 or 1"]),
    ] {
        let said = mine_ok(&["split", "--input", text(input), "--output", text(&output), "--force"]);
        assert!(said.contains(&format!("{count} rows left out")), "{said}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{said}");
        assert_eq!(read(&output.join("skipped.parquet")).num_rows(), count);
    }
    // what a stray quote swallows are good rows: not to be counted as one bad one
    let quoted = work.path().join("quoted.csv");
    std::fs::write(&quoted, "question1,question2,is_duplicate\na,b,1\n\"c,d,0\ne,f,1\ng,\"h\",0\ni,j,0\n").unwrap();
    let error = mine_fails(&["split", "--input", text(&quoted), "--output", text(&output), "--force"], 1);
    assert!(error.contains("line 3: 2 fields, expected 3") && error.contains("over 3 lines"), "{error}");
    let error = mine_fails(&["split", "--input", "nope.csv", "--output", text(&output), "--force"], 2);
    assert!(error.contains("nope.csv: no such file") && !error.contains("Os {"), "{error}");
}

#[test]
fn a_part_far_from_its_share_is_told() {
    let work = folder();
    let (input, output) = (work.path().join("pairs.csv"), work.path().join("split"));
    let star: String = (0..60).map(|n| format!("hub,spoke{n},1\n")).collect();
    let rest: String = (0..40).map(|n| format!("q{n},r{n},0\n")).collect();
    std::fs::write(&input, format!("question1,question2,is_duplicate\n{star}{rest}")).unwrap();
    let split = ["split", "--input", text(&input), "--output", text(&output), "--ratios", "40,30,30"];
    let said = mine_ok(&split);
    assert!(said.contains("train holds 60.0 % of the pairs, 40.0 % were requested"), "{said}");
}
