//! The training path of a layer on the plain CPU device: a forward pass that keeps what the gradient needs, and the
//! gradient by hand. Under autodiff every elementwise step is a pass over memory of its own, forward and back, and two
//! thirds of the time go there; here the passes are fused as in inference, and the products are what is left.

use super::TransformerLayer;
use crate::models::dropout::Dropout;
use crate::models::kernels::{self, AttentionRecord, AttentionShape, backward};
use crate::models::ops::ResidualNorm;
use crate::models::plain::{NormTape, PlainLinear, PlainNorm};
use crate::models::token_batch::TokenBatch;

/// A layer's weights as plain numbers.
pub struct PlainLayer {
    /// Queries, keys and values.
    projections: [PlainLinear; 3],
    attention_dropout: Dropout,
    attention_output: PlainResidualNorm,
    intermediate: PlainLinear,
    output: PlainResidualNorm,
    heads: usize,
}

/// What a forward pass through a layer leaves for its gradient.
pub struct LayerTape {
    input: Vec<f32>,
    /// The rows of the input that are carried on where those are not all: the first of every sequence.
    asking: Option<Vec<f32>>,
    /// Queries, keys and values before their biases.
    projected: [Vec<f32>; 3],
    probabilities: Vec<f32>,
    attention_mask: Option<Vec<f32>>,
    context: Vec<f32>,
    attention_norm: NormTape,
    attended: Vec<f32>,
    gelu_slopes: Vec<f32>,
    wide: Vec<f32>,
    output_norm: NormTape,
}

struct PlainResidualNorm {
    linear: PlainLinear,
    dropout: Option<Dropout>,
    norm: PlainNorm,
}

impl PlainResidualNorm {
    fn new(layer: &ResidualNorm) -> Self {
        let norm = PlainNorm::new(&layer.norm, layer.epsilon);
        Self { linear: PlainLinear::new(&layer.linear), dropout: layer.dropout.clone(), norm }
    }

    fn record(&self, x: &[f32], residual: &[f32]) -> (Vec<f32>, NormTape) {
        let mask = self.dropout.as_ref().and_then(|dropout| dropout.draw(residual.len()));
        let mut out = self.linear.product(x);
        backward::add_residual(&mut out, &self.linear.bias, mask.as_deref(), residual);
        let tape = self.norm.record(&mut out, mask);
        (out, tape)
    }

    /// From the gradient of the output: that of the residual, which takes its place, that of `x`, and those of the
    /// parameters.
    fn backward(&self, tape: &NormTape, x: &[f32], g: &mut [f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let of_norm = self.norm.backward(tape, g);
        let dropped = tape.mask.as_ref().map(|mask| backward::product(g, mask));
        let of_product = dropped.as_deref().unwrap_or(g);
        let mut gradients = Vec::from(self.linear.of_parameters(x, of_product));
        gradients.extend(of_norm);
        (self.linear.of_input(of_product), gradients)
    }
}

impl TransformerLayer {
    /// For layers on the plain CPU device.
    pub fn plain(&self) -> PlainLayer {
        PlainLayer {
            projections: [&self.query, &self.key, &self.value].map(PlainLinear::new),
            attention_dropout: self.attention_dropout.clone(),
            attention_output: PlainResidualNorm::new(&self.attention_output),
            intermediate: PlainLinear::new(&self.intermediate),
            output: PlainResidualNorm::new(&self.output),
            heads: self.heads,
        }
    }
}

impl PlainLayer {
    /// `[R, H] → [R, H]` with dropout, or `[B, H]` of the first tokens alone; for layers without a relative bias.
    pub fn record(&self, input: Vec<f32>, batch: &TokenBatch, first_only: bool) -> (Vec<f32>, LayerTape) {
        let [query, key, value] = &self.projections;
        let (tokens, width) = (batch.dims()[1], query.bias.len());
        let asking = first_only.then(|| first_tokens(&input, tokens * width, width));
        let rows = asking.as_ref().unwrap_or(&input);
        let queries = if first_only { 1 } else { tokens };
        let projected = [query.product(rows), key.product(&input), value.product(&input)];
        let mut probabilities = vec![0.0; rows.len() / width * self.heads * tokens];
        let attention_mask = self.attention_dropout.draw(probabilities.len());
        let mut context = vec![0.0; rows.len()];
        kernels::attention(
            &mut context,
            projected.each_ref().map(Vec::as_slice),
            self.projections.each_ref().map(|layer| layer.bias.as_slice()),
            AttentionShape { tokens, queries, width: width / self.heads },
            batch.lengths(),
            None,
            Some(AttentionRecord { probabilities: &mut probabilities, mask: attention_mask.as_deref() }),
        );
        let (attended, attention_norm) = self.attention_output.record(&context, rows);
        let mut wide = self.intermediate.product(&attended);
        let mut gelu_slopes = vec![0.0; wide.len()];
        backward::add_bias_gelu(&mut wide, &self.intermediate.bias, &mut gelu_slopes);
        let (output, output_norm) = self.output.record(&wide, &attended);
        let tape = LayerTape {
            input,
            asking,
            projected,
            probabilities,
            attention_mask,
            context,
            attention_norm,
            attended,
            gelu_slopes,
            wide,
            output_norm,
        };
        (output, tape)
    }

    /// From the gradient of the output, `[R, H]`: that of the input, and those of the parameters in the order in which a
    /// module visits them.
    pub fn backward(&self, tape: LayerTape, mut g: Vec<f32>, batch: &TokenBatch) -> (Vec<f32>, Vec<Vec<f32>>) {
        let (mut of_wide, of_output) = self.output.backward(&tape.output_norm, &tape.wide, &mut g);
        backward::multiply(&mut of_wide, &tape.gelu_slopes);
        let of_intermediate = self.intermediate.of_parameters(&tape.attended, &of_wide);
        self.intermediate.add_of_input(&of_wide, &mut g);
        let (of_context, of_attention_output) =
            self.attention_output.backward(&tape.attention_norm, &tape.context, &mut g);

        let [query, key, value] = &self.projections;
        let (tokens, width) = (batch.dims()[1], query.bias.len());
        let queries = if tape.asking.is_some() { 1 } else { tokens };
        let [mut of_q, mut of_k, mut of_v] = tape.projected.each_ref().map(|projected| vec![0.0; projected.len()]);
        backward::attention(
            &of_context,
            tape.projected.each_ref().map(Vec::as_slice),
            self.projections.each_ref().map(|layer| layer.bias.as_slice()),
            (&tape.probabilities, tape.attention_mask.as_deref()),
            AttentionShape { tokens, queries, width: width / self.heads },
            batch.lengths(),
            [&mut of_q, &mut of_k, &mut of_v],
        );
        query.add_of_input(&of_q, &mut g);
        let mut gradients = Vec::from(query.of_parameters(tape.asking.as_ref().unwrap_or(&tape.input), &of_q));
        if tape.asking.is_some() {
            g = spread(&g, tokens * width, width);
        }
        for (layer, of_layer) in [(key, of_k), (value, of_v)] {
            layer.add_of_input(&of_layer, &mut g);
            gradients.extend(layer.of_parameters(&tape.input, &of_layer));
        }
        gradients.extend(of_attention_output);
        gradients.extend(of_intermediate);
        gradients.extend(of_output);
        (g, gradients)
    }
}

/// The first `width` numbers of every `sequence`.
fn first_tokens(rows: &[f32], sequence: usize, width: usize) -> Vec<f32> {
    rows.chunks_exact(sequence).flat_map(|tokens| &tokens[..width]).copied().collect()
}

/// The inverse of [`first_tokens`], with zeros elsewhere.
fn spread(first: &[f32], sequence: usize, width: usize) -> Vec<f32> {
    let mut all = vec![0.0; first.len() / width * sequence];
    for (tokens, first) in all.chunks_exact_mut(sequence).zip(first.chunks_exact(width)) {
        tokens[..width].copy_from_slice(first);
    }
    all
}
