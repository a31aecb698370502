//! Names for containers that were given none: `adjective_surname`.
//!
//! The surnames are those of scientists, engineers and mathematicians; the lists are our own. The
//! caller brings the randomness and tries another seed (or [`with_number`]) where a name is taken.

const ADJECTIVES: [&str; 100] = [
    "able", "adept", "agile", "airy", "amber", "ample", "apt", "arctic", "artful", "avid", "balmy",
    "blithe", "bold", "boring", "brave", "breezy", "bright", "brisk", "calm", "candid", "cheerful",
    "civil", "clear", "clever", "coastal", "cosy", "crisp", "curious", "daring", "deft", "eager",
    "early", "earnest", "easy", "fair", "fearless", "festive", "fleet", "fond", "frank", "fresh",
    "gallant", "gentle", "giddy", "glad", "golden", "grand", "handy", "happy", "hardy", "hearty",
    "honest", "humble", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid", "lucky",
    "lunar", "mellow", "merry", "mild", "modest", "nimble", "noble", "patient", "peaceful",
    "placid", "plucky", "polite", "prompt", "proud", "quick", "quiet", "radiant", "rapid", "ready",
    "robust", "rosy", "serene", "sharp", "silent", "smooth", "solar", "spry", "steady", "stellar",
    "sturdy", "sunny", "swift", "tidy", "tranquil", "upbeat", "vivid", "warm", "witty", "zesty",
];

const SURNAMES: [&str; 236] = [
    "abel",
    "agnesi",
    "airy",
    "alhazen",
    "ampere",
    "anning",
    "apgar",
    "archimedes",
    "aristarchus",
    "arrhenius",
    "aryabhata",
    "avicenna",
    "avogadro",
    "babbage",
    "banach",
    "banneker",
    "bardeen",
    "bartik",
    "bassi",
    "bateson",
    "becquerel",
    "bell",
    "bernoulli",
    "berzelius",
    "bessemer",
    "bhabha",
    "bhaskara",
    "blackburn",
    "blackwell",
    "bohr",
    "boltzmann",
    "boole",
    "bose",
    "boyle",
    "brahe",
    "brahmagupta",
    "brunel",
    "burnell",
    "cannon",
    "cantor",
    "cardano",
    "carnot",
    "carson",
    "cartwright",
    "carver",
    "cauchy",
    "cavendish",
    "celsius",
    "chandrasekhar",
    "chatelet",
    "chebyshev",
    "church",
    "clarke",
    "codd",
    "conway",
    "copernicus",
    "cori",
    "coulomb",
    "cray",
    "crick",
    "curie",
    "cuvier",
    "daguerre",
    "dalton",
    "darwin",
    "davinci",
    "davy",
    "descartes",
    "diesel",
    "dijkstra",
    "diophantus",
    "dirac",
    "dirichlet",
    "doppler",
    "easley",
    "eddington",
    "edison",
    "eiffel",
    "einstein",
    "engelbart",
    "eratosthenes",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "feigenbaum",
    "fermat",
    "fermi",
    "feynman",
    "fibonacci",
    "fleming",
    "foucault",
    "fourier",
    "franklin",
    "fresnel",
    "galileo",
    "galois",
    "galvani",
    "gauss",
    "germain",
    "gibbs",
    "goddard",
    "godel",
    "goeppert",
    "goldberg",
    "goodall",
    "grothendieck",
    "gutenberg",
    "haber",
    "hadamard",
    "halley",
    "hamilton",
    "hamming",
    "harvey",
    "hawking",
    "heaviside",
    "heisenberg",
    "helmholtz",
    "henry",
    "hermite",
    "herschel",
    "hertz",
    "hilbert",
    "hippocrates",
    "hoare",
    "hodgkin",
    "hooke",
    "hopper",
    "hubble",
    "humboldt",
    "huygens",
    "hypatia",
    "jacobi",
    "jacquard",
    "jemison",
    "jenner",
    "johnson",
    "joliot",
    "joule",
    "kalam",
    "kalman",
    "kapitsa",
    "keller",
    "kelvin",
    "kepler",
    "khayyam",
    "khorana",
    "kilby",
    "kirch",
    "kirchhoff",
    "knuth",
    "koch",
    "kolmogorov",
    "kovalevskaya",
    "lagrange",
    "lamarr",
    "landau",
    "laplace",
    "lavoisier",
    "leavitt",
    "leeuwenhoek",
    "legendre",
    "leibniz",
    "levi",
    "liebig",
    "linnaeus",
    "liskov",
    "lorentz",
    "lovelace",
    "lumiere",
    "lyell",
    "mandelbrot",
    "marconi",
    "markov",
    "maxwell",
    "mayer",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "mercator",
    "minkowski",
    "mirzakhani",
    "moser",
    "napier",
    "nash",
    "neumann",
    "newcomen",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "noyce",
    "oersted",
    "ohm",
    "oppenheimer",
    "panini",
    "pascal",
    "pasteur",
    "pauli",
    "pauling",
    "payne",
    "peano",
    "perlman",
    "planck",
    "poincare",
    "poisson",
    "priestley",
    "ptolemy",
    "pythagoras",
    "ramanujan",
    "raman",
    "ride",
    "riemann",
    "ritchie",
    "rontgen",
    "rubin",
    "rutherford",
    "sagan",
    "salk",
    "schrodinger",
    "shannon",
    "siemens",
    "snell",
    "somerville",
    "stephenson",
    "tesla",
    "thales",
    "torricelli",
    "turing",
    "volta",
    "watt",
    "wozniak",
    "wu",
    "yalow",
    "zuse",
];

/// A name that is a pure function of the seed.
pub fn generate(seed: u64) -> String {
    let mut state = seed;
    loop {
        let random = next_random(&mut state);
        let (low, high) = (random as u32, (random >> 32) as u32);
        let name = format!("{}_{}", pick(&ADJECTIVES, low), pick(&SURNAMES, high));
        // As in Docker: Steve Wozniak is not boring.
        if name != "boring_wozniak" {
            return name;
        }
    }
}

/// The name followed by a digit: what to try when seeds keep giving names that are taken.
pub fn with_number(seed: u64) -> String {
    let mut state = !seed;
    format!("{}{}", generate(seed), next_random(&mut state) % 10)
}

fn pick<'a>(words: &[&'a str], random: u32) -> &'a str {
    let count = words.len() as u64;
    let index = (u64::from(random) * count) >> 32;
    words[usize::try_from(index).unwrap_or(0)]
}

/// SplitMix64: every seed, 0 too, gives a good first number.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_words_are_plain_and_each_stands_once() {
        for words in [&ADJECTIVES[..], &SURNAMES[..]] {
            let unique: BTreeSet<_> = words.iter().collect();
            assert_eq!(unique.len(), words.len());
            for word in words {
                assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            }
        }
    }

    #[test]
    fn names_are_valid_repeatable_and_spread() {
        let mut names = BTreeSet::new();
        for seed in 0..100_000 {
            let name = generate(seed);
            assert_ne!(name, "boring_wozniak");
            crate::id::check_container_name(&name).unwrap();
            names.insert(name);
        }
        assert_eq!(generate(7), generate(7));
        assert!(names.len() > 20_000, "{}", names.len());
        assert!(with_number(1).starts_with(&generate(1)));
    }
}
