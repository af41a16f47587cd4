//! Every target with its committed corpus, and with variations of it.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use fuzz::{TARGETS, variation};

/// Variations of all inputs of a target together, unless `FUZZ_VARIATIONS` has another number.
const VARIATIONS: usize = 400;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own variable")]
fn every_input_of_the_corpus_and_its_variations_hold() {
    let variations = std::env::var("FUZZ_VARIATIONS").map_or(VARIATIONS, |number| number.parse().unwrap());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (mut bytes, mut findings) = (0, Vec::new());
    for target in TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(corpus.join(target.name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        // The same on every machine.
        let mut random = Rng::with_seed(20);
        let varied = std::iter::repeat_with(|| {
            let [one, other] = [(); 2].map(|()| &inputs[random.usize(..inputs.len())]);
            variation::of(one, other, &mut random)
        });
        let mut all = inputs.iter().cloned().chain(varied.take(variations));
        if let Some(input) = all.find(|input| std::panic::catch_unwind(|| (target.run)(input)).is_err()) {
            findings.push(format!("{} with {:?}", target.name, String::from_utf8_lossy(&input)));
        }
        bytes += inputs.iter().map(Vec::len).sum::<usize>();
        println!("{}: {} inputs and {variations} variations", target.name, inputs.len());
    }
    assert!(findings.is_empty(), "{findings:#?}");
    let folders = fs::read_dir(&corpus).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a folder of the corpus has no target");
    assert!(bytes < 300_000, "the corpora have {bytes} bytes");
}
