//! The law of nights for neighbour lists: whatever came and went, the lists are those of a search from nothing.

use std::collections::BTreeSet;

use dupmine::device::plain_cpu;
use dupmine::mining::candidates::{SearchConfig, search};
use dupmine::mining::neighbour_lists;
use dupmine::progress::Progress;
use dupmine::search::engine::Engine;
use dupmine::search::hnsw::HnswConfig;
use dupmine::search::tiles::Tiles;
use dupmine::search::{Neighbour, Query, Vectors};
use dupmine::store::identity::{Identity, Kind};
use dupmine::store::root::Store;
use dupmine::text::key::TextKey;
use proptest::prelude::*;

use crate::support::folder;

const WIDTH: usize = 4;

/// A vector that depends on the number alone. Some are equal, some are zero.
fn vector(number: u8) -> [f32; WIDTH] {
    let at = |shift: u32| (f32::from(number / 2).mul_add(1.7, shift as f32)).sin();
    let values = [at(0), at(1), at(5), at(9)];
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    if number % 19 == 7 { [0.0; WIDTH] } else { values.map(|value| value / norm) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn lists_of_any_nights_are_those_of_a_search_from_nothing(
        nights in prop::collection::vec(prop::collection::btree_set(0u8..60, 1..50), 2..6),
        top_k in 1usize..6,
        floor in 0.3f32..0.95,
        reserve in 0usize..4,
    ) {
        let work = folder();
        let progress = Progress::new(true, Default::default());
        let store = Store::open(work.path(), None, "test", false, &progress).unwrap();
        let hnsw = HnswConfig { links: 4, ef_construction: 16, ef_search: 8, deterministic: true };
        let config = SearchConfig { engine: Engine::Exact, query: Query { top_k, floor }, reserve, hnsw, seed: 1 };
        let tiles = Tiles { device: plain_cpu(), rows: 7 };
        let base = Identity::new(Kind::Neighbours, 1, []);
        let mut was_updated = 0;
        for live in &nights {
            let mut texts: Vec<(TextKey, u8)> =
                live.iter().map(|&number| (TextKey::of(&number.to_string()), number)).collect();
            texts.sort_unstable();
            let keys: Vec<TextKey> = texts.iter().map(|(key, _)| *key).collect();
            let values: Vec<f32> = texts.iter().flat_map(|(_, number)| vector(*number)).collect();
            let vectors = Vectors { values: &values, width: WIDTH };
            let corpus: Vec<String> = live.iter().map(u8::to_string).collect();
            let identity = base.with("texts", &corpus.join(" "));
            let earlier = neighbour_lists::earlier(&store, &identity, &keys, top_k, &progress).unwrap();
            was_updated += usize::from(earlier.is_some());
            let found = search(vectors, &config, earlier, (&tiles, None), &progress).unwrap();
            let all = search(vectors, &config, None, (&tiles, None), &progress).unwrap();
            let nearest = |lists: &[Vec<Neighbour>]| -> Vec<Vec<Neighbour>> {
                lists.iter().map(|list| list.iter().take(top_k).copied().collect()).collect()
            };
            prop_assert_eq!(nearest(&found.lists), nearest(&all.lists));
            for (text, (list, all_of_it)) in found.lists.iter().zip(&all.lists).enumerate() {
                // what a list has is the start of the true one, and one that has not all is called cut
                let known = list.len().min(all_of_it.len());
                prop_assert_eq!(&list[..known], &all_of_it[..known]);
                prop_assert!(found.cut[text] || !all.cut[text] && list.len() == all_of_it.len());
            }
            prop_assert_eq!(found.counts.recall_above_min_cosine, 1.0);
            let mut segments = store.use_segments(&identity).unwrap();
            segments.clear().unwrap();
            neighbour_lists::write(&store, &identity, &mut segments, &found, &keys).unwrap();
        }
        prop_assert!(was_updated > 0 || nights.iter().collect::<BTreeSet<_>>().len() == 1);
    }
}
