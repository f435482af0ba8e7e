//! What the outputs of a batch are compared with.

use burn::tensor::{Device, Tensor, TensorData};

/// What the examples of a batch are compared with. `B` examples, `N` hard negatives each.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// `[B]`: 1 for duplicates, 0 for others; the teacher's first scores if a loss distils them.
    pub labels: Vec<f32>,
    /// `[B · N]`: of each example the teacher's score of the pair minus that of (first question, negative).
    pub margins: Vec<f32>,
    /// `[C·B, D]` row-major: the teacher's vectors of the same texts, and D.
    pub vectors: Option<(Vec<f32>, usize)>,
}

impl Targets {
    /// Examples B.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn labels_on(&self, device: &Device) -> Tensor<1> {
        Tensor::from_data(TensorData::new(self.labels.clone(), [self.labels.len()]), device)
    }
}
