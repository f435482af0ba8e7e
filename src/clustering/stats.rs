
pub struct ClusterStats { pub cluster: u32, pub edges: usize, pub density: f64, pub min_probability: f32, pub mean_probability: f64, pub needs_review: bool }
pub fn stats(_: &super::Clustering, _: &[super::Edge], _: f32) -> Vec<ClusterStats> { Vec::new() }
