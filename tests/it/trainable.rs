//! Models as the trainer needs them: the same numbers under autodiff, gradients everywhere, dropout, and saved folders
//! that load as the same model.

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use dupmine::models::network::dropout::seeded;
use dupmine::models::network::precision::Precision;
use dupmine::models::network::token_batch::TokenBatch;
use dupmine::models::siamese::{HeadConfig, SiameseClassifier};
use dupmine::text::tokenizer::TokenizedPair;
use dupmine::training::gradients::{self, Gradient};
use dupmine::training::network::{Item, Network};
use dupmine::training::pass::Pass;
use safetensors::SafeTensors;

use crate::support::{folder, repo};

const TEXTS: [&str; 3] = ["How do I learn the guitar?", "cook rice", "What is the best way to cook rice in India?"];

fn open(name: &str) -> ModelFolder {
    ModelFolder::open(&repo("fixtures/models").join(name)).unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn texts_of(model: &BiEncoder) -> TokenBatch {
    let tokenized = model.tokenizer.tokenize(&TEXTS).unwrap();
    let rows: Vec<&[u32]> = (0..TEXTS.len()).map(|at| tokenized.ids(at)).collect();
    TokenBatch::new(rows.into_iter().map(|row| (row, [].as_slice())))
}

fn pairs_of(model: &CrossEncoder) -> TokenBatch {
    let tokenized = model.tokenizer.tokenize_pairs(&[(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[1])]).unwrap();
    TokenBatch::new(tokenized.iter().map(|pair| (pair.ids.as_slice(), pair.type_ids.as_slice())))
}

fn bi_vectors(model: &BiEncoder) -> Vec<f32> {
    model.model.unit_vectors(&texts_of(model)).into_data().try_into_vec().unwrap()
}

fn cross_logits(model: &CrossEncoder) -> Vec<f32> {
    model.model.forward(&pairs_of(model)).into_data().try_into_vec().unwrap()
}

#[test]
fn autodiff_gives_the_same_vectors_and_a_gradient_to_every_parameter() {
    let plain = bi_vectors(&BiEncoder::load(&open("tiny-bert"), &Device::flex()).unwrap());
    let mut model = BiEncoder::load(&open("tiny-bert"), &Device::flex().autodiff()).unwrap();
    let with_dropout = seeded(1, || bi_vectors(&model));
    assert!(largest_difference(&with_dropout, &plain) > 0.01, "config.json asks for dropout");
    model.model = model.model.with_dropout(0.0);
    assert!(largest_difference(&bi_vectors(&model), &plain) <= 2e-5);

    let gradients = model.model.unit_vectors(&texts_of(&model)).powi_scalar(3).sum().backward();
    let gradients = GradientsParams::from_grads(gradients, &model.model);
    // embeddings 3 and their norm 2, and per layer six linear layers and two norms of two tensors each
    assert_eq!(gradients.len(), 3 + 2 + 2 * 16);

    model.model = model.model.with_dropout(0.5).valid();
    assert!(largest_difference(&bi_vectors(&model), &plain) <= 1e-6, "no dropout outside training");
}

#[test]
fn a_cross_encoder_trains_with_its_head() {
    let plain = cross_logits(&CrossEncoder::load(&open("tiny-bert-cross"), &Device::flex()).unwrap());
    let mut model = CrossEncoder::load(&open("tiny-bert-cross"), &Device::flex().autodiff()).unwrap();
    model.model = model.model.with_dropout(0.0);
    assert!(largest_difference(&cross_logits(&model), &plain) <= 2e-5);
    let gradients = model.model.forward(&pairs_of(&model)).sum().backward();
    assert_eq!(GradientsParams::from_grads(gradients, &model.model).len(), 3 + 2 + 2 * 16 + 4);
}

#[test]
fn a_new_head_depends_on_the_seed_alone() {
    let logits = |seed| cross_logits(&CrossEncoder::with_new_head(&open("tiny-bert"), seed, &Device::flex()).unwrap());
    assert_eq!(logits(1), logits(1));
    assert_ne!(logits(1), logits(2));
}

/// Names of a safetensors file, and its `format`.
fn header(folder: &Path) -> (BTreeSet<String>, Option<String>) {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let format = metadata.metadata().as_ref().and_then(|all| all.get("format").cloned());
    (metadata.tensors().into_keys().collect(), format)
}

#[test]
fn a_saved_folder_is_the_same_model_under_the_same_names() {
    let work = folder();
    let model = BiEncoder::load(&open("tiny-bert"), &Device::flex()).unwrap();
    let saved = work.path().join("bi");
    model.save(&saved).unwrap();
    let again = BiEncoder::load(&ModelFolder::open(&saved).unwrap(), &Device::flex()).unwrap();
    assert_eq!(bi_vectors(&again), bi_vectors(&model));
    assert_eq!(again.tokenizer.max_tokens(), model.tokenizer.max_tokens());
    let ((names, format), (mut original, _)) = (header(&saved), header(&repo("fixtures/models/tiny-bert")));
    // no model reads these
    original.retain(|name| !name.starts_with("pooler") && !name.ends_with("position_ids"));
    assert_eq!((names, format.as_deref()), (original, Some("pt")));
    assert!(model.save(&saved).is_err_and(|error| error.to_string().contains("exists already")));

    let model = CrossEncoder::load(&open("tiny-bert-cross"), &Device::flex().autodiff()).unwrap();
    let saved = work.path().join("cross");
    model.save(&saved).unwrap();
    let again = CrossEncoder::load(&ModelFolder::open(&saved).unwrap(), &Device::flex()).unwrap();
    let valid = CrossEncoder { model: model.model.valid(), ..model };
    assert_eq!(cross_logits(&again), cross_logits(&valid));
    let ((names, format), (mut original, _)) = (header(&saved), header(&repo("fixtures/models/tiny-bert-cross")));
    original.retain(|name| !name.ends_with("position_ids"));
    assert_eq!((names, format.as_deref()), (original, Some("pt")));
}

/// Gradients of every parameter by the path that the device and family choose, and by autodiff alone.
fn both_gradients(network: &Network, items: &[&Item]) -> [Vec<Gradient>; 2] {
    let by_hand = seeded(7, || {
        let pass = Pass::forward(network, items);
        let gradient = pass.outputs().powi_scalar(2) - 0.3;
        pass.backward(network, gradient)
    });
    let trained = network.clone().train();
    let outputs = seeded(7, || trained.forward(items));
    let gradient = outputs.clone().inner().powi_scalar(2) - 0.3;
    let tape = (outputs * Tensor::from_inner(gradient)).sum().backward();
    [by_hand, gradients::collect(&trained, &tape)]
}

fn assert_equal_gradients(what: &str, network: &Network, items: &[&Item]) {
    let [by_hand, autodiff] = both_gradients(network, items);
    let names = gradients::names(network);
    assert_eq!((by_hand.len(), autodiff.len()), (names.len(), names.len()));
    for ((name, ours), theirs) in names.iter().zip(by_hand).zip(autodiff) {
        match (ours, theirs) {
            (Gradient::None, Gradient::None) => {}
            (Gradient::Dense(ours), Gradient::Dense(theirs)) => {
                let largest = theirs.iter().fold(0.0f32, |most, g| most.max(g.abs()));
                // a key's bias has a gradient of zero, up to rounding: softmax does not see it
                let error = largest_difference(&ours, &theirs);
                assert!(error <= 2e-5 * largest + 1e-6, "{what}, {name}: {error}, the largest gradient is {largest}");
            }
            (ours, theirs) => panic!("{what}, {name}: {ours:?} is not {theirs:?}"),
        }
    }
}

#[test]
fn gradients_by_hand_are_those_of_autodiff_with_the_same_dropout() {
    for dropout in [0.0, 0.1] {
        let model = BiEncoder::load(&open("tiny-bert"), &Device::flex()).unwrap();
        let tokenized = model.tokenizer.tokenize(&TEXTS).unwrap();
        let texts: Vec<Item> = (0..TEXTS.len()).map(|at| Item::of_text(tokenized.ids(at))).collect();
        let pairs = texts.iter().zip(texts.iter().rev());
        let pairs: Vec<Item> = pairs.map(|(a, b)| Item { second: b.ids.clone(), ..a.clone() }).collect();
        let pairs: Vec<&Item> = pairs.iter().collect();
        let network = Network::Bi(model.model).with_dropout(dropout);
        assert_equal_gradients("bi-encoder", &network, &texts.iter().collect::<Vec<_>>());

        let folder = open("tiny-bert");
        let siamese = SiameseClassifier::with_new_head(&folder, HeadConfig::default(), 3, &Device::flex()).unwrap();
        let network = Network::Siamese(siamese.model()).with_dropout(dropout);
        assert_equal_gradients("siamese", &network, &pairs);
        assert_equal_gradients("frozen siamese", &network.with_frozen_encoder(), &pairs);

        for name in ["tiny-bert", "families/bert", "families/roberta", "families/distilbert", "families/mpnet"] {
            let cross = CrossEncoder::with_new_head(&open(name), 3, &Device::flex()).unwrap();
            let tokenized = cross.tokenizer.tokenize_pairs(&[(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[1])]).unwrap();
            let item = |pair: TokenizedPair| Item { ids: pair.ids, type_ids: pair.type_ids, second: Vec::new() };
            let items: Vec<Item> = tokenized.into_iter().map(item).collect();
            let network = Network::Cross(cross.model).with_dropout(dropout);
            assert_equal_gradients(name, &network, &items.iter().collect::<Vec<_>>());
        }
    }
}

fn values(gradient: &Gradient) -> &[f32] {
    match gradient {
        Gradient::Dense(values) => values,
        Gradient::None | Gradient::Rows { .. } => &[],
    }
}

#[test]
fn gradients_in_bf16_are_those_of_f32_to_two_digits() {
    for name in ["tiny-bert", "families/roberta", "families/distilbert", "families/mpnet"] {
        let cross = CrossEncoder::with_new_head(&open(name), 3, &Device::flex()).unwrap();
        let tokenized = cross.tokenizer.tokenize_pairs(&[(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[1])]).unwrap();
        let item = |pair: TokenizedPair| Item { ids: pair.ids, type_ids: pair.type_ids, second: Vec::new() };
        let items: Vec<Item> = tokenized.into_iter().map(item).collect();
        let items: Vec<&Item> = items.iter().collect();
        let network = Network::Cross(cross.model).with_dropout(0.1);
        for network in [network.clone(), network.with_frozen_tokens()] {
            let [exact, coarse] = [Precision::F32, Precision::Bf16].map(|precision| {
                let network = network.clone().in_precision(precision);
                let pass = seeded(7, || Pass::forward(&network, &items));
                let ones = pass.outputs().ones_like();
                pass.backward(&network, ones)
            });
            let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
            let largest = exact.iter().map(|gradient| norm(values(gradient))).fold(0.0, f32::max);
            let mut differ = false;
            for ((name_of, exact), coarse) in gradients::names(&network).iter().zip(exact).zip(coarse) {
                match (exact, coarse) {
                    (Gradient::None, Gradient::None) => {}
                    (Gradient::Dense(exact), Gradient::Dense(coarse)) => {
                        let error: Vec<f32> = exact.iter().zip(&coarse).map(|(a, b)| a - b).collect();
                        differ |= norm(&error) > 0.0;
                        assert!(
                            norm(&error) < 0.05 * norm(&exact) + 2e-3 * largest,
                            "{name}, {name_of}: {}",
                            norm(&error)
                        );
                    }
                    (exact, coarse) => panic!("{name}, {name_of}: {exact:?} is not {coarse:?}"),
                }
            }
            assert!(differ, "{name} computes in bf16");
        }
    }
}
