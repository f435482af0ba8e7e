//! Losses and their gradients against sentence-transformers: fixtures/reference/losses.json.

use burn::tensor::{Device, Tensor, TensorData};
use dupmine::losses::cached_ranking::{output_gradient, surrogate};
use dupmine::losses::mix::{LossNumbers, Mix};
use dupmine::losses::targets::Targets;
use serde_json::Value;

use crate::support::repo;

fn cases() -> Vec<Value> {
    let path = repo("fixtures/reference/losses.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(values: &Value) -> Vec<f32> {
    match values {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn matrix(rows: &Value, device: &Device) -> Tensor<2> {
    let (values, count) = (numbers(rows), rows.as_array().unwrap().len());
    let width = values.len() / count;
    Tensor::from_data(TensorData::new(values, [count, width]), device)
}

fn targets(case: &Value) -> Targets {
    let list = |key: &str| case.get(key).map(numbers).unwrap_or_default();
    let vectors = case.get("vectors").map(|rows| (numbers(rows), rows[0].as_array().unwrap().len()));
    Targets { labels: list("labels"), margins: list("margins"), vectors }
}

fn loss_numbers(case: &Value) -> LossNumbers {
    let number = |key: &str, default: f64| case.get(key).and_then(Value::as_f64).unwrap_or(default);
    let ranking = case.get("ranking").map(|r| serde_json::from_value(r.clone()).unwrap()).unwrap_or_default();
    LossNumbers { margin: number("margin", 0.5), pos_weight: number("pos_weight", 1.0), ranking }
}

#[test]
fn values_and_gradients_equal_sentence_transformers() {
    let device = Device::flex();
    let mut seen = std::collections::BTreeSet::new();
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let mix: Mix = name.parse().unwrap();
        let (targets, numbers_of_loss) = (targets(&case), loss_numbers(&case));
        let outputs = matrix(&case["outputs"], &device);
        let (gradient, value) = output_gradient(&outputs, |outputs| mix.loss(outputs, &targets, &numbers_of_loss));
        let wanted = case["value"].as_f64().unwrap() as f32;
        let context = format!("{name} {numbers_of_loss:?}");
        assert!((value - wanted).abs() <= 1e-5 * wanted.abs().max(1e-3), "{context}: value {value}, Python's {wanted}");
        let wanted = numbers(&case["gradient"]);
        let largest = wanted.iter().fold(0.0f32, |most, g| most.max(g.abs()));
        for (at, (ours, theirs)) in gradient.into_data().iter::<f32>().zip(&wanted).enumerate() {
            assert!(
                (ours - theirs).abs() <= 1e-5 * largest.max(1e-3),
                "{context}: gradient {at} is {ours}, Python's {theirs}, the largest {largest}"
            );
        }
        seen.insert(name.to_string());
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn a_mix_is_the_weighted_sum_and_keeps_its_spelling() {
    let device = Device::flex();
    let case = cases().into_iter().find(|case| case["name"] == "contrastive").unwrap();
    let (outputs, targets) = (matrix(&case["outputs"], &device), targets(&case));
    let value = |text: &str| {
        let mix: Mix = text.parse().unwrap();
        assert_eq!(mix.to_string(), text);
        output_gradient(&outputs, |outputs| mix.loss(outputs, &targets, &LossNumbers::default())).1
    };
    let (contrastive, ranking) = (value("contrastive"), value("ranking"));
    assert!((value("contrastive=2,ranking=0.5") - (2.0 * contrastive + 0.5 * ranking)).abs() < 1e-5);
    assert_eq!("rankin".parse::<Mix>().unwrap_err(), "unknown loss \"rankin\"; the nearest known one is \"ranking\"");
    assert!("ranking=-1".parse::<Mix>().is_err());
}

/// The surrogate's gradient is the loss's own: what makes cached gradients exact.
#[test]
fn the_surrogate_has_the_gradient_of_the_loss() {
    let device = Device::flex();
    let case = cases().into_iter().find(|case| case["name"] == "ranking").unwrap();
    let (start, targets) = (matrix(&case["outputs"], &device), targets(&case));
    let loss = |outputs: &Tensor<2>| {
        let mix: Mix = "ranking".parse().unwrap();
        mix.loss(outputs, &targets, &LossNumbers::default())
    };
    // a model of one matrix: outputs = start · weight
    let width = start.dims()[1];
    let weight = || Tensor::from_inner(Tensor::<2>::eye(width, &device) * 0.7).require_grad();
    let forward = |weight: &Tensor<2>| Tensor::from_inner(start.clone()).matmul(weight.clone());
    let straight = weight();
    let straight = straight.grad(&loss(&forward(&straight)).backward()).unwrap();
    let cached = weight();
    let (gradient, _) = output_gradient(&forward(&cached), loss);
    let cached = cached.grad(&surrogate(forward(&cached), gradient).backward()).unwrap();
    let difference: f32 = (straight - cached).abs().max().into_scalar();
    assert!(difference < 1e-6, "{difference}");
}
