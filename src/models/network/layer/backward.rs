//! The training path of a layer on the plain CPU device: a forward pass that keeps what the gradient needs, and the
//! gradient by hand. Under autodiff every elementwise step is its own pass over memory, forward and back, and takes two thirds
//! of the time. Here the passes are fused as in inference, and most of the time goes into the products.

use burn::tensor::{Tensor, TensorData};

use crate::models::kernels::attention::{self, AttentionRecord, AttentionShape};
use crate::models::kernels::backward;
use crate::models::network::buffers::{norm_values, on_buffer, rows_like, slice, values};
use crate::models::network::layer::TransformerLayer;
use crate::models::network::linear::Linear;
use crate::models::network::ops::{ResidualNorm, first_tokens};
use crate::models::network::token_batch::TokenBatch;

/// What a forward pass through a layer keeps for its gradient.
pub struct LayerTape {
    input: Tensor<2>,
    /// The rows of the input that the layer returns: all, or the first of every sequence.
    kept: Tensor<2>,
    /// Queries, keys and values before their biases.
    projected: [TensorData; 3],
    probabilities: Vec<f32>,
    attention_mask: Option<Vec<f32>>,
    context: Tensor<2>,
    attention_norm: NormTape,
    attended: Tensor<2>,
    before_gelu: Vec<f32>,
    wide: Tensor<2>,
    output_norm: NormTape,
}

/// What a norm and the dropout next to it keep for their gradient.
pub struct NormTape {
    /// Rows before gamma and beta.
    normalised: Vec<f32>,
    /// `1 / sqrt(var + ε)` of every row.
    inverses: Vec<f32>,
    mask: Option<Vec<f32>>,
}

impl NormTape {
    /// `x ← norm(x)` row by row.
    pub fn record(x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f64, mask: Option<Vec<f32>>) -> Self {
        let (mut normalised, mut inverses) = (vec![0.0; x.len()], vec![0.0; x.len() / gamma.len()]);
        backward::norm_into(x, gamma, beta, epsilon as f32, &mut normalised, &mut inverses);
        Self { normalised, inverses, mask }
    }

    /// `x ← x · mask`.
    pub fn drop_out(&self, x: &mut [f32]) {
        if let Some(mask) = &self.mask {
            backward::multiply(x, mask);
        }
    }

    /// `g ←` gradient of the norm's input; returns those of gamma and beta.
    pub fn backward(&self, g: &mut [f32], gamma: &[f32]) -> [Vec<f32>; 2] {
        let (mut of_gamma, mut of_beta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
        backward::norm(g, &self.normalised, &self.inverses, gamma, &mut of_gamma, &mut of_beta);
        [of_gamma, of_beta]
    }
}

impl ResidualNorm {
    #[expect(clippy::expect_used, reason = "`on_buffer` runs its closure once")]
    fn record(&self, x: Tensor<2>, residual: &Tensor<2>) -> (Tensor<2>, NormTape) {
        let residual = residual.clone().into_data();
        let (gamma, beta) = norm_values(&self.norm);
        let mask = self.dropout.as_ref().and_then(|dropout| dropout.draw(slice(&residual).len()));
        let mut tape = None;
        let out = on_buffer(self.linear.product(x), |out| {
            backward::add_residual(out, &self.linear.bias_values(), mask.as_deref(), slice(&residual));
            tape = Some(NormTape::record(out, &gamma, &beta, self.epsilon, mask));
        });
        (out, tape.expect("the closure has run"))
    }

    /// From the gradient of the output: that of the residual, that of `x`, and those of the parameters.
    fn backward(&self, tape: &NormTape, x: Tensor<2>, mut g: Vec<f32>) -> (Vec<f32>, Tensor<2>, Vec<Vec<f32>>) {
        let (gamma, _) = norm_values(&self.norm);
        let [of_gamma, of_beta] = tape.backward(&mut g, &gamma);
        let mut of_product = g.clone();
        tape.drop_out(&mut of_product);
        let (of_x, mut gradients) = self.linear.backward(x, of_product);
        gradients.extend([of_gamma, of_beta]);
        (g, of_x, gradients)
    }
}

impl TransformerLayer {
    /// `[R, H] → [R, H]` with dropout, or `[B, H]` of the first tokens; for layers without a relative bias.
    pub fn record(&self, hidden: Tensor<2>, batch: &TokenBatch, first_only: bool) -> (Tensor<2>, LayerTape) {
        let [sequences, tokens] = batch.dims();
        let kept = if first_only { first_tokens(hidden.clone(), batch) } else { hidden.clone() };
        let [rows, width] = kept.dims();
        let shape = AttentionShape { tokens, queries: rows / sequences, width: width / self.heads };
        let project = |rows: &Tensor<2>, layer: &Linear| layer.product(rows.clone()).into_data();
        let projected = [project(&kept, &self.query), project(&hidden, &self.key), project(&hidden, &self.value)];
        let biases = [&self.query, &self.key, &self.value].map(Linear::bias_values);
        let mut probabilities = vec![0.0; rows * self.heads * tokens];
        let attention_mask = self.attention_dropout.draw(probabilities.len());
        let mut context = vec![0.0; rows * width];
        attention::attention(
            &mut context,
            [slice(&projected[0]), slice(&projected[1]), slice(&projected[2])],
            &biases,
            shape,
            batch.lengths(),
            None,
            Some(AttentionRecord { probabilities: &mut probabilities, mask: attention_mask.as_deref() }),
        );
        let context = rows_like(context, width, &hidden);
        let (attended, attention_norm) = self.attention_output.record(context.clone(), &kept);
        let mut before_gelu = values(self.intermediate.product(attended.clone()));
        let mut wide = vec![0.0; before_gelu.len()];
        backward::add_bias_gelu_into(&mut before_gelu, &self.intermediate.bias_values(), &mut wide);
        let wide = rows_like(wide, before_gelu.len() / rows, &hidden);
        let (output, output_norm) = self.output.record(wide.clone(), &attended);
        let tape = LayerTape {
            input: hidden,
            kept,
            projected,
            probabilities,
            attention_mask,
            context,
            attention_norm,
            attended,
            before_gelu,
            wide,
            output_norm,
        };
        (output, tape)
    }

    /// From the gradient of the output, `[R, H]`: that of the input, and those of the parameters in the order in which a
    /// module visits them.
    pub fn backward(&self, tape: LayerTape, g: Vec<f32>, batch: &TokenBatch) -> (Vec<f32>, Vec<Vec<f32>>) {
        let ([rows, width], [sequences, tokens]) = (tape.kept.dims(), batch.dims());
        let shape = AttentionShape { tokens, queries: rows / sequences, width: width / self.heads };
        let (mut of_attended, of_wide, output) = self.output.backward(&tape.output_norm, tape.wide, g);
        let mut of_wide = values(of_wide);
        backward::gelu(&mut of_wide, &tape.before_gelu);
        let (through, intermediate) = self.intermediate.backward(tape.attended, of_wide);
        backward::add(&mut of_attended, &values(through));
        let (mut of_kept, of_context, attention_output) =
            self.attention_output.backward(&tape.attention_norm, tape.context, of_attended);

        let layers = [&self.query, &self.key, &self.value];
        let mut of_q = vec![0.0; of_kept.len()];
        let [mut of_k, mut of_v] = [(); 2].map(|()| vec![0.0; sequences * tokens * width]);
        backward::attention(
            &values(of_context),
            [slice(&tape.projected[0]), slice(&tape.projected[1]), slice(&tape.projected[2])],
            &layers.map(Linear::bias_values),
            (&tape.probabilities, tape.attention_mask.as_deref()),
            shape,
            batch.lengths(),
            [&mut of_q, &mut of_k, &mut of_v],
        );
        let (through, mut gradients) = self.query.backward(tape.kept, of_q);
        backward::add(&mut of_kept, &values(through));
        let mut of_input = spread(of_kept, width, shape);
        for (layer, g) in [(&self.key, of_k), (&self.value, of_v)] {
            let (through, of_layer) = layer.backward(tape.input.clone(), g);
            backward::add(&mut of_input, &values(through));
            gradients.extend(of_layer);
        }
        gradients.extend(attention_output);
        gradients.extend(intermediate);
        gradients.extend(output);
        (of_input, gradients)
    }
}

/// Rows of the query tokens at their places among all tokens, zero elsewhere.
fn spread(kept: Vec<f32>, width: usize, shape: AttentionShape) -> Vec<f32> {
    if shape.queries == shape.tokens {
        return kept;
    }
    let mut all = vec![0.0; kept.len() / shape.queries * shape.tokens];
    let sequences = all.chunks_exact_mut(shape.tokens * width).zip(kept.chunks_exact(shape.queries * width));
    sequences.for_each(|(all, kept)| all[..kept.len()].copy_from_slice(kept));
    all
}
