//! The tokens of a batch end to end, in a number of rows that is the same for every batch: what a card computes on.
//!
//! Every product of a model then has one shape whatever the lengths of the texts, so that a kernel is compiled and chosen
//! once, and no row of padding is computed beside those at the end.

use crate::executor::batch::PackedShape;
use crate::models::network::token_batch::TokenBatch;

/// Numbers of a row: token, position, token type, the first row of its text, and the row after the last.
pub const FIELDS: usize = 5;

/// Where the tokens of a batch lie. R rows, S slots.
pub struct PackedRows {
    /// One field after the other, `[FIELDS · R]`. Rows that only fill up are texts of one token.
    pub fields: Vec<i32>,
    /// First row of every text.
    starts: Vec<usize>,
    /// Tokens of every text.
    lengths: Vec<usize>,
    shape: PackedShape,
}

impl PackedRows {
    /// Packs the real tokens of a batch, in order. `positions` and `type_ids` are those of the padded batch, `[B, T]`.
    pub fn new(batch: &TokenBatch, positions: &[i32], type_ids: &[i32]) -> Self {
        let ([_, tokens], lengths) = (batch.dims(), batch.lengths().to_vec());
        let shape = batch.packed_shape();
        let rows = shape.rows;
        let mut fields = vec![0; FIELDS * rows];
        let mut starts = Vec::with_capacity(lengths.len());
        let mut next = 0;
        for (text, &length) in lengths.iter().enumerate() {
            starts.push(next);
            // a text without tokens is one token of padding
            let (from, end) = (text * tokens, next + length.max(1));
            for (field, values) in [batch.ids(), positions, type_ids].into_iter().enumerate() {
                fields[field * rows + next..field * rows + end].copy_from_slice(&values[from..from + end - next]);
            }
            fields[3 * rows + next..3 * rows + end].fill(next as i32);
            fields[4 * rows + next..4 * rows + end].fill(end as i32);
            next = end;
        }
        for row in next..rows {
            (fields[3 * rows + row], fields[4 * rows + row]) = (row as i32, row as i32 + 1);
        }
        Self { fields, starts, lengths, shape }
    }

    /// R and S.
    pub fn shape(&self) -> PackedShape {
        self.shape
    }

    /// One row of every slot, `[S]`: `of` says which token of a text, from its length; 0 in slots without a text.
    pub fn token_of_slots(&self, of: impl Fn(usize) -> usize) -> Vec<i32> {
        let rows = self.starts.iter().zip(&self.lengths).map(|(&start, &length)| (start + of(length)) as i32);
        self.filled(rows)
    }

    /// The rows of every slot from token `first` on, `[2 · S]`: the first of each text, then the row after each last one.
    pub fn spans(&self, first: usize) -> Vec<i32> {
        let texts = || self.starts.iter().zip(&self.lengths);
        let mut spans = self.filled(texts().map(|(&start, &length)| (start + first.min(length)) as i32));
        spans.extend(self.filled(texts().map(|(&start, &length)| (start + length) as i32)));
        spans
    }

    /// A weight for every row, `[R]`, from a token's place in its text and the number of its tokens from `first` on; 0 in
    /// rows before `first` and in those that fill up.
    pub fn weights(&self, first: usize, weight: impl Fn(usize, f32) -> f32) -> Vec<f32> {
        let mut weights = vec![0.0; self.shape.rows];
        for (&start, &length) in self.starts.iter().zip(&self.lengths) {
            let count = length.saturating_sub(first) as f32;
            for token in first..length {
                weights[start + token] = weight(token, count);
            }
        }
        weights
    }

    fn filled(&self, of_texts: impl Iterator<Item = i32>) -> Vec<i32> {
        let mut values: Vec<i32> = of_texts.collect();
        values.resize(self.shape.slots, 0);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_end_to_end() {
        let texts: [&[u32]; 3] = [&[5, 6, 7], &[8], &[9, 10]];
        let batch = TokenBatch::of_texts(&texts).packed(PackedShape { rows: 8, slots: 4 });
        let positions = batch.positions(None);
        let rows = PackedRows::new(&batch, &positions, batch.type_ids());
        let field = |at: usize| &rows.fields[at * 8..(at + 1) * 8];
        assert_eq!(field(0), [5, 6, 7, 8, 9, 10, 0, 0]);
        assert_eq!(field(1), [0, 1, 2, 0, 0, 1, 0, 0]);
        assert_eq!(field(3), [0, 0, 0, 3, 4, 4, 6, 7]);
        assert_eq!(field(4), [3, 3, 3, 4, 6, 6, 7, 8]);
        assert_eq!(rows.token_of_slots(|length| length - 1), [2, 3, 5, 0]);
        assert_eq!(rows.spans(1), [1, 4, 5, 0, 3, 4, 6, 0]);
        assert_eq!(rows.weights(1, |_, count| 1.0 / count), [0.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
