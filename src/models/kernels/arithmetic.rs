//! Arithmetic that the loops share: lanes of a fixed width, sums in a fixed order, and approximations of `erf` and `exp` that
//! the compiler vectorises.

/// Width of the inner loops: one AVX-512 register or two of AVX2, and a fixed order of addition on every machine.
pub const LANES: usize = 16;

/// Mean and `1 / sqrt(variance + ε)`.
#[inline(always)]
pub fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let width = row.len() as f32;
    let mean = sum(row, |v| v) / width;
    let variance = sum(row, |v| (v - mean) * (v - mean)) / width;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[inline(always)]
pub fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().map(|&v| of(v)).sum();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += of(v);
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// Error function as a rational approximation, 13th over 8th degree on [−4, 4] (the one of Eigen and XLA); absolute
/// error below 5e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let p = -2.726_142_3e-10f32;
    let p = p * s + 2.770_681_4e-8;
    let p = p * s - 2.101_024e-6;
    let p = p * s - 5.692_506_4e-5;
    let p = p * s - 7.349_906e-4;
    let p = p * s - 2.954_6e-3;
    let p = p * s - 1.609_603_3e-2;
    let q = -1.456_607_2e-5f32;
    let q = q * s - 2.133_740_6e-4;
    let q = q * s - 1.682_827e-3;
    let q = q * s - 7.373_329e-3;
    let q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// `e^x` for x ≤ 0, relative error below 2e-7: `2^n · p(f)` with `n` the nearest integer to `x / ln 2` (Cephes `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding and subtracting it rounds to the nearest integer
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let f = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4f32;
    let p = p * f + 1.398_199_9e-3;
    let p = p * f + 8.333_452e-3;
    let p = p * f + 4.166_579_6e-2;
    let p = p * f + 1.666_666_5e-1;
    let p = p * f + 0.5;
    let p = p * f * f + f + 1.0;
    // the lowest bits of `shifted` are n; a conversion would be checked value by value
    f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23)) * p
}
