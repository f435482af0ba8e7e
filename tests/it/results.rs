//! The result files against each other and against the input: what a user joins must fit.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Float32Type;
use dupmine::text::normalise::normalise;

use crate::support::*;

/// Everything in the cluster files is counted again from the pairs.
#[test]
fn clusters_say_what_the_pairs_say() {
    let work = folder();
    let out = work.path().join("out");
    let input = repo("fixtures/questions.parquet");
    mine_ok(&tiny(text(&input), text(&out), &["--write-embeddings"]));

    let questions = read(&input);
    let (ids, texts) = (i64s(&questions, "id"), strings(&questions, "text"));
    let place: HashMap<i64, usize> = ids.iter().copied().zip(0..).collect();
    let mut first_of: HashMap<String, i64> = HashMap::new();
    let mut one: HashMap<i64, i64> = HashMap::new();
    for (&id, text) in ids.iter().zip(&texts) {
        one.insert(id, *first_of.entry(normalise(text).into_owned()).or_insert(id));
    }

    let pairs = read(&out.join("pairs.parquet"));
    let (a, b, kinds) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), strings(&pairs, "kind"));
    let (cosines, probabilities) = (f32s(&pairs, "cosine"), f32s(&pairs, "probability"));
    let embeddings = read(&out.join("embeddings.parquet"));
    let list = embeddings.column_by_name("embedding").unwrap().as_fixed_size_list();
    let values = list.values().as_primitive::<Float32Type>().values().to_vec();
    let vector: HashMap<i64, &[f32]> = i64s(&embeddings, "id").into_iter().zip(values.chunks(32)).collect();
    let mut scored: HashMap<(i64, i64), f32> = HashMap::new();
    for row in (0..a.len()).filter(|&row| kinds[row] == "semantic") {
        let dot: f32 = vector[&a[row]].iter().zip(vector[&b[row]]).map(|(x, y)| x * y).sum();
        assert!((dot - cosines[row].unwrap()).abs() < 1e-5, "{} and {}: {dot}", a[row], b[row]);
        assert!(place[&a[row]] < place[&b[row]], "the first question of a pair is the first of the input");
        scored.insert((a[row], b[row]), probabilities[row].unwrap());
    }
    let probability = |x: i64, y: i64| if x == y { Some(1.0) } else { scored.get(&(x.min(y), x.max(y))).copied() };

    let clusters = read(&out.join("clusters.parquet"));
    let (members, of) = (i64s(&clusters, "id"), i64s(&clusters, "cluster_id"));
    let (is_representative, sizes) = (bools(&clusters, "is_representative"), u32s(&clusters, "cluster_size"));
    let to_representative = f32s(&clusters, "probability_to_representative");
    let mut rows_of: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    of.iter().enumerate().for_each(|(row, &cluster)| rows_of.entry(cluster).or_default().push(row));

    let stats = read(&out.join("cluster_stats.parquet"));
    let of_stats: HashMap<i64, usize> = i64s(&stats, "cluster_id").into_iter().zip(0..).collect();
    assert_eq!(of_stats.len(), rows_of.len());
    assert!(rows_of.len() > 20, "{}", rows_of.len());
    let (mins, means, densities) =
        (f32s(&stats, "min_probability"), f32s(&stats, "mean_probability"), f32s(&stats, "density"));
    let edges = stats.column_by_name("edges").unwrap().as_primitive::<arrow::datatypes::UInt64Type>();
    for (cluster, rows) in &rows_of {
        let at = of_stats[cluster];
        let centres: Vec<i64> = rows.iter().filter(|&&row| is_representative[row]).map(|&row| members[row]).collect();
        assert_eq!(centres, [i64s(&stats, "representative")[at]], "one representative");
        assert!(*cluster > 0);
        assert_eq!(u64s(&stats, "first_seen")[at], 1);
        for &row in rows {
            assert_eq!((sizes[row] as usize, u32s(&stats, "size")[at] as usize), (rows.len(), rows.len()));
            let expected = probability(one[&members[row]], one[&centres[0]]);
            assert!(expected.is_some_and(|p| p >= 0.9) && to_representative[row] == expected, "{}", members[row]);
        }
        let mut distinct: Vec<i64> = rows.iter().map(|&row| one[&members[row]]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let all = distinct.iter().enumerate().flat_map(|(at, &x)| distinct[at + 1..].iter().map(move |&y| (x, y)));
        let all: Vec<Option<f32>> = all.map(|(x, y)| probability(x, y)).collect();
        let inside: Vec<f32> = all.iter().copied().flatten().collect();
        let linked = inside.iter().filter(|&&p| p >= 0.9).count();
        let density = if all.is_empty() { 1.0 } else { linked as f32 / all.len() as f32 };
        assert_eq!((edges.value(at) as usize, densities[at]), (linked, Some(density)), "cluster {cluster}");
        assert_eq!(mins[at].unwrap(), inside.iter().copied().fold(1.0, f32::min));
        let mean = if inside.is_empty() { 1.0 } else { inside.iter().sum::<f32>() / inside.len() as f32 };
        assert!((means[at].unwrap() - mean).abs() < 1e-5);
        assert_eq!(bools(&stats, "needs_review")[at], linked < inside.len() || density < 0.5);
    }
}

#[test]
fn a_night_that_fails_leaves_the_results_of_the_last_one() {
    let work = folder();
    let (input, out, kept) = (work.path().join("q.parquet"), work.path().join("out"), work.path().join("kept"));
    write_questions(&input, &["how are you", "how are you?", "why is the sky blue"]);
    mine_ok(&tiny(text(&input), text(&out), &[]));
    copy_folder(&out, &kept);
    let (ids, texts) = (Int64Array::from(vec![1, 1]), StringArray::from(vec!["how are you", "how old are you"]));
    let columns: Vec<(&str, ArrayRef)> = vec![("id", std::sync::Arc::new(ids)), ("text", std::sync::Arc::new(texts))];
    write_parquet(&input, columns, 10);
    let error = mine_fails(&tiny(text(&input), text(&out), &[]), 1);
    assert!(error.contains("q.parquet") && error.contains("id 1"), "{error}");
    // a damaged model shows late, after reading
    write_questions(&input, &["how are you", "how are you?", "why is the sky blue", "where am i"]);
    let model = work.path().join("model");
    copy_model(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross"), &model);
    std::fs::write(model.join("model.safetensors"), "not weights").unwrap();
    mine_fails(&tiny(text(&input), text(&out), &["--cross-encoder", text(&model), "--force"]), 1);
    assert_same_results(&kept, &out);
    let manifest = |folder: &std::path::Path| std::fs::read(folder.join("manifest.json")).unwrap();
    assert_eq!(manifest(&kept), manifest(&out));
}
