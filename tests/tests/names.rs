//! Names use the field's words: no item, field, variable or file carries a word of the dialect that the
//! project has left behind.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use syn::visit::{self, Visit};

/// Words that no name may contain as a component, each with the word to use.
const WORDS: [(&str, &str); 52] = [
    ("trunk", "backbone"),
    ("tuned", "head checkpoint"),
    ("taught", "distillation, teacher"),
    ("feed", "data loader"),
    ("listing", "dataset index"),
    ("compose", "mixing"),
    ("distortion", "augmentation"),
    ("surroundings", "test conditions"),
    ("played", "scored"),
    ("hear", "push, detect"),
    ("hears", "detects"),
    ("heard", "detection, scored"),
    ("say", "print"),
    ("says", "prints"),
    ("said", "printed, logits"),
    ("tell", "report"),
    ("tells", "reports"),
    ("told", "logged, reported"),
    ("deaf", "refractory"),
    ("peers", "process group"),
    ("ears", "embedded backbone"),
    ("ground", "experiment data"),
    ("figures", "results, metrics"),
    ("artifact", "model file"),
    ("artifacts", "model files"),
    ("picture", "image"),
    ("pictures", "images"),
    ("lamp", "LED"),
    ("ways", "grid"),
    ("wish", "action"),
    ("wishes", "actions"),
    ("facts", "metadata"),
    ("door", "entry point"),
    ("doors", "entry points"),
    ("nobody", "none"),
    ("nobodys", "negative"),
    ("somebody", "a user"),
    ("someone", "a user"),
    ("whoever", "the caller"),
    ("walk", "traverse"),
    ("walks", "traverses"),
    ("material", "training set"),
    ("draw", "seed, sample"),
    ("draws", "seeds, samples"),
    ("drawn", "sampled"),
    ("hushed", "ignored"),
    ("base", "pretrained model"),
    ("corpus", "dataset"),
    ("fault", "microphone health, mic issue"),
    ("faults", "microphone health, mic issues"),
    ("prepared", "negative bank, dataset index"),
    ("refresh", "mine hard negatives"),
];

/// Types that had a private meaning, each with the name to use.
const TYPES: [(&str, &str); 22] = [
    ("Base", "PretrainedModel"),
    ("Code", "QuantParams"),
    ("Factors", "BiasScale"),
    ("Grid", "ResultTable"),
    ("How", "Strategy"),
    ("Keep", "LwfLoss"),
    ("Kept", "Entry"),
    ("Load", "Decode"),
    ("Measure", "EvalConfig"),
    ("Outcome", "StepOutput"),
    ("OtherSpeech", "Negatives"),
    ("Packed", "PackedAffine"),
    ("Place", "SlotImage"),
    ("Placed", "padded clip"),
    ("Prepared", "NegativeBank"),
    ("Question", "CheckLevel"),
    ("Recordings", "KeywordClips"),
    ("Run", "Trainer"),
    ("Share", "BatchMix"),
    ("Stage", "TrainStep"),
    ("Start", "Init"),
    ("Train", "Trainable"),
];

/// Names with such a word that are right: file or folder, name, reason.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("firmware/", "feed", "a watchdog is fed"),
    ("host/train/src/evaluate/html/chart.rs", "draw", "a curve is drawn"),
    ("host/train/src/trainer/run_log.rs", "draw", "a chart is drawn"),
    ("xtask/src/fuzz.rs", "artifacts", "libFuzzer calls the inputs that break a target so"),
];

/// Name that a source file defines.
struct Name {
    text: String,
    is_type: bool,
}

/// Collects the names that one file defines.
struct Names(Vec<Name>);

impl Names {
    /// Starts with the folders and the stem of a path.
    fn of_path(path: &str) -> Self {
        let parts = path.trim_end_matches(".rs").split('/');
        Self(parts.map(|part| Name { text: part.replace('-', "_"), is_type: false }).collect())
    }

    fn push(&mut self, name: &syn::Ident, is_type: bool) {
        self.0.push(Name { text: name.to_string(), is_type });
    }
}

impl<'a> Visit<'a> for Names {
    fn visit_signature(&mut self, function: &'a syn::Signature) {
        self.push(&function.ident, false);
        visit::visit_signature(self, function);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.push(&item.ident, true);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.push(&item.ident, true);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'a syn::ItemUnion) {
        self.push(&item.ident, true);
        visit::visit_item_union(self, item);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.push(&item.ident, true);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'a syn::ItemType) {
        self.push(&item.ident, true);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        self.push(&item.ident, false);
        visit::visit_item_const(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'a syn::ImplItemConst) {
        self.push(&item.ident, false);
        visit::visit_impl_item_const(self, item);
    }

    fn visit_trait_item_const(&mut self, item: &'a syn::TraitItemConst) {
        self.push(&item.ident, false);
        visit::visit_trait_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'a syn::ItemStatic) {
        self.push(&item.ident, false);
        visit::visit_item_static(self, item);
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.push(&item.ident, false);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_macro(&mut self, item: &'a syn::ItemMacro) {
        if let Some(name) = &item.ident {
            self.push(name, false);
        }
    }

    fn visit_field(&mut self, field: &'a syn::Field) {
        if let Some(name) = &field.ident {
            self.push(name, false);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'a syn::Variant) {
        self.push(&variant.ident, false);
        visit::visit_variant(self, variant);
    }

    fn visit_use_rename(&mut self, rename: &'a syn::UseRename) {
        self.push(&rename.rename, false);
    }

    fn visit_pat_ident(&mut self, variable: &'a syn::PatIdent) {
        self.push(&variable.ident, false);
        visit::visit_pat_ident(self, variable);
    }
}

#[test]
fn names_use_the_words_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeSet::new();
    let mut used = BTreeSet::new();
    let files = tracked(root);
    assert!(files.len() > 300, "only {} files: the test looks in the wrong place", files.len());
    for file in files {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        let source = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut names = Names::of_path(&file);
        names.visit_file(&source);
        for name in names.0 {
            let Some(instead) = replacement(&name) else { continue };
            match EXCEPTIONS
                .iter()
                .position(|(place, word, _)| file.starts_with(place) && *word == name.text)
            {
                Some(exception) => _ = used.insert(exception),
                None => _ = found.insert(format!("{file}: {} (use: {instead})", name.text)),
            }
        }
    }
    let list: Vec<String> = found.into_iter().collect();
    assert!(list.is_empty(), "{} names:\n{}", list.len(), list.join("\n"));
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception is not needed any more");
}

#[test]
fn finds_words_in_every_kind_of_name() {
    let source = "
        mod trunk {} struct TunedHead { heard_s: u8 } enum E { Told } trait Hears { const SAID: u8; fn hear(&self); }
        type Figures = u8; static LAMP: u8 = 0; fn f(ways: u8) { let (a, facts) = (1, 2); } use a as walk;
        macro_rules! doors { () => {} } struct Base;";
    let mut names = Names::of_path("src/listing.rs");
    names.visit_file(&syn::parse_str(source).unwrap());
    let found: Vec<&str> =
        names.0.iter().filter(|name| replacement(name).is_some()).map(|name| &*name.text).collect();
    let expected = [
        "listing",
        "trunk",
        "TunedHead",
        "heard_s",
        "Told",
        "Hears",
        "SAID",
        "hear",
        "Figures",
        "LAMP",
        "ways",
        "facts",
        "walk",
        "doors",
        "Base",
    ];
    assert_eq!(found, expected);
    assert_eq!(components("HTTPServer2_isHere"), ["httpserver2", "is", "here"]);
}

/// Returns the words to use instead of a name that the project has left behind.
fn replacement(name: &Name) -> Option<&'static str> {
    let parts = components(&name.text);
    let by_type = TYPES.iter().find(|(word, _)| name.is_type && *word == name.text);
    let by_word = WORDS.iter().find(|(word, _)| parts.iter().any(|part| part == word));
    by_type.or(by_word).map(|(_, instead)| *instead)
}

/// Words of a name, in lower case: `SampleRate`, `sample_rate` and `SAMPLE_RATE` are `sample`, `rate`.
fn components(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut previous = ' ';
    for letter in name.trim_start_matches("r#").chars() {
        if letter == '_' || (letter.is_uppercase() && previous.is_lowercase()) {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().unwrap().extend(letter.to_lowercase());
        }
        previous = letter;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Rust sources of the repository, as git lists them, or all below its folders where there is no git.
fn tracked(root: &Path) -> Vec<String> {
    let output =
        Command::new("git").args(["ls-files", "-z", "*.rs"]).current_dir(root).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let names = names.split('\0').filter(|name| !name.is_empty() && root.join(name).exists());
    names.map(str::to_owned).collect()
}
