//! The data of the page's search box: clusters as JSON inside the page, as many as fit.

use crate::report::source::{QuestionCard, Source};
use crate::run::schema::{ClusterRow, ClusterStatsRow};

/// Bytes of the page that the data may take.
const BUDGET: usize = 5_500_000;
/// Members kept of one cluster.
const MEMBERS: usize = 40;

/// JSON for the page, and how many clusters it holds.
pub struct SearchData {
    pub json: String,
    pub clusters: usize,
}

/// The largest clusters first, until the budget is spent. A cluster is
/// `[id, size, to review, [[id, text, score], …]]`, its representative first.
pub fn data(source: &Source, groups: &[&[ClusterRow]]) -> SearchData {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(source.stats[at].size));
    let mut json = String::from("[");
    let mut clusters = 0;
    for at in order {
        let cluster = embeddable(&cluster(source, &source.stats[at], groups[at]));
        if json.len() + cluster.len() > BUDGET {
            break;
        }
        if clusters > 0 {
            json.push(',');
        }
        json.push_str(&cluster);
        clusters += 1;
    }
    json.push(']');
    SearchData { json, clusters }
}

fn cluster(source: &Source, stats: &ClusterStatsRow, rows: &[ClusterRow]) -> serde_json::Value {
    let member = |row: &ClusterRow| {
        let QuestionCard { id, text } = source.question(row.question);
        let score = row.probability_to_representative.map(|p| (f64::from(p) * 1000.0).round() / 1000.0);
        serde_json::json!([id, text, score])
    };
    let mut rows: Vec<&ClusterRow> = rows.iter().collect();
    rows.sort_by_key(|row| !row.is_representative);
    let members: Vec<_> = rows.into_iter().take(MEMBERS).map(member).collect();
    let id = stats.cluster.to_string();
    serde_json::json!([id, stats.size, stats.needs_review, members])
}

/// JSON that cannot end the script element that holds it, nor open a comment there.
fn embeddable(value: &serde_json::Value) -> String {
    let json = value.to_string();
    if !json.contains(['<', '>', '&']) {
        return json;
    }
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_the_script_element() {
        let hostile = serde_json::json!(["</script><!--", "a & b"]);
        let json = embeddable(&hostile);
        assert!(!json.contains(['<', '>', '&']), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), hostile);
    }
}
