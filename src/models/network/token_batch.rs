//! One padded batch of token ids: what an encoder takes.

use crate::executor::batch::{BatchShape, Lengths, PACKED_ROWS, PackedShape};
use crate::text::tokenizer::TokenizedPair;

/// Rows of token ids, padded at the end to the longest. B rows, T tokens.
pub struct TokenBatch {
    ids: Vec<i32>,
    type_ids: Vec<i32>,
    lengths: Vec<usize>,
    tokens: usize,
    /// What an encoder packs it into, if the executor said so.
    packed: Option<PackedShape>,
}

impl TokenBatch {
    /// Pads rows of `(ids, type ids)`; empty type ids stand for zeros. At least one row.
    pub fn new<'a>(rows: impl ExactSizeIterator<Item = (&'a [u32], &'a [u32])> + Clone) -> Self {
        let lengths: Vec<usize> = rows.clone().map(|(ids, _)| ids.len()).collect();
        // no tensor has zero tokens: texts that tokenize to nothing are one token of padding
        let tokens = lengths.iter().copied().max().unwrap_or(0).max(1);
        let (mut ids, mut type_ids) = (vec![0; rows.len() * tokens], vec![0; rows.len() * tokens]);
        for (row, (row_ids, row_types)) in rows.enumerate() {
            for (to, &from) in ids[row * tokens..].iter_mut().zip(row_ids) {
                *to = from as i32;
            }
            for (to, &from) in type_ids[row * tokens..].iter_mut().zip(row_types) {
                *to = from as i32;
            }
        }
        Self { ids, type_ids, lengths, tokens, packed: None }
    }

    /// A batch of texts.
    pub fn of_texts(texts: &[&[u32]]) -> Self {
        Self::new(texts.iter().map(|&ids| (ids, [].as_slice())))
    }

    /// A batch of pairs.
    pub fn of_pairs(pairs: &[&TokenizedPair]) -> Self {
        Self::new(pairs.iter().map(|pair| (pair.ids.as_slice(), pair.type_ids.as_slice())))
    }

    /// The same rows in the shape that the device wants, of at most `limit` tokens. Rows that only fill the shape come
    /// last.
    pub fn pad_to(self, shape: BatchShape, limit: usize) -> Self {
        if shape.lengths == Lengths::Packed {
            // room for one text of any length: no text may need a shape of its own
            let packed = PackedShape::new(shape.max_tokens, self.real_tokens().max(limit), self.lengths.len());
            return self.packed(packed);
        }
        let [rows, tokens] = self.padded_dims(shape, limit);
        self.padded(rows, tokens)
    }

    /// The same rows, for an encoder that packs them into this shape.
    pub fn packed(self, shape: PackedShape) -> Self {
        Self { packed: Some(shape), ..self }
    }

    /// What an encoder packs the rows into.
    pub fn packed_shape(&self) -> PackedShape {
        self.packed.unwrap_or_else(|| PackedShape::new(PACKED_ROWS, self.real_tokens(), self.lengths.len()))
    }

    /// Tokens without padding; a row without any counts as one.
    fn real_tokens(&self) -> usize {
        self.lengths.iter().map(|&length| length.max(1)).sum()
    }

    /// The rows and tokens that [`TokenBatch::pad_to`] pads to.
    pub fn padded_dims(&self, shape: BatchShape, limit: usize) -> [usize; 2] {
        let [rows, tokens] = self.dims();
        let tokens = shape.padded_length(tokens).min(limit.max(tokens));
        [shape.padded_rows(rows, tokens), tokens]
    }

    /// The same rows among `rows`, padded to `tokens`. Rows that are added come last and hold one token each, so that none
    /// is all padding.
    pub fn padded(self, rows: usize, tokens: usize) -> Self {
        let [old_rows, old_tokens] = self.dims();
        if [rows, tokens] == [old_rows, old_tokens] {
            return self;
        }
        let wider = |values: &[i32]| {
            let mut padded = vec![0; rows * tokens];
            for (to, from) in padded.chunks_exact_mut(tokens).zip(values.chunks_exact(old_tokens)) {
                to[..old_tokens].copy_from_slice(from);
            }
            padded
        };
        let (ids, type_ids) = (wider(&self.ids), wider(&self.type_ids));
        let mut lengths = self.lengths;
        lengths.resize(rows, 1);
        Self { ids, type_ids, lengths, tokens, packed: self.packed }
    }

    /// B and T.
    pub fn dims(&self) -> [usize; 2] {
        [self.lengths.len(), self.tokens]
    }

    /// Real tokens per row.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Whether some row is shorter than the longest.
    pub fn is_padded(&self) -> bool {
        self.lengths.iter().any(|&length| length < self.tokens)
    }

    /// Token ids, row-major `[B, T]`, 0 in padding.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Token types, row-major `[B, T]`.
    pub fn type_ids(&self) -> &[i32] {
        &self.type_ids
    }

    /// Rows of the position table, row-major `[B, T]`: from 0, or from the row after that of the `padding` id, on which
    /// a padding token inside a text stays without being counted.
    pub fn positions(&self, padding: Option<usize>) -> Vec<i32> {
        let rows = self.ids.chunks_exact(self.tokens.max(1));
        match padding.map(|id| id as i32) {
            None => rows.flat_map(|_| 0..self.tokens as i32).collect(),
            Some(padding) => rows
                .flat_map(|row| {
                    row.iter().scan(padding, move |last, &id| {
                        *last += i32::from(id != padding);
                        Some(if id == padding { padding } else { *last })
                    })
                })
                .collect(),
        }
    }
}
