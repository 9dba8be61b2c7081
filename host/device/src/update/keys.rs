//! Keys that sign models. A key is 32 random bytes (the seed of RFC 8032), stored as hexadecimal
//! digits in a file that only its owner may read. The secret key is never printed; the public key
//! is.

use std::{fs::OpenOptions, io::Write, path::Path};

use ed25519_compact::{KeyPair, Seed};
use wakeling_shared::update::package::KEY_BYTES;

use crate::{Error, Result};

/// Seed of the development key. It is public, so it protects nothing.
const DEVELOPMENT_SEED: [u8; KEY_BYTES] = *b"wakeling development key, public";
/// Comment line above the digits in a file.
const COMMENT: &str = "# Wakeling: a secret key that signs models. Keep it to yourself.";

/// Key for signing.
///
/// ```
/// use wakeling_device::update::{keys::Key, package::{Package, pack}};
/// # use wakeling_tests::model::{Tier, random_model};
/// # let model = random_model(1, Tier::Tiny);
///
/// let path = std::env::temp_dir().join(format!("wakeling-key-{}", std::process::id()));
/// let key = Key::create(&path)?;
/// assert_eq!(Key::load(&path)?.public(), key.public());
/// assert!(Key::create(&path).is_err()); // a key is never overwritten
/// # std::fs::remove_file(&path).unwrap();
///
/// // `model` holds the bytes of a model file.
/// let signed = pack("model.wkl".as_ref(), &model, 3, Some(&key))?;
/// let package = Package::of(signed).unwrap();
/// assert_eq!(package.header.version, 3);
/// assert_eq!(package.header.signature.unwrap().key, key.public());
/// # Ok::<(), wakeling_device::Error>(())
/// ```
pub struct Key {
    pair: KeyPair,
}

impl Key {
    /// Returns the public development key.
    pub fn development() -> Self {
        Self::of_seed(DEVELOPMENT_SEED)
    }

    fn of_seed(seed: [u8; KEY_BYTES]) -> Self {
        Self { pair: KeyPair::from_seed(Seed::new(seed)) }
    }

    /// Generates a key and writes it to a new file, which only its owner may read.
    ///
    /// # Errors
    /// [`Error::KeyExists`] if the file already exists. An overwritten key is lost, and with it every
    /// device that pins it.
    pub fn create(path: &Path) -> Result<Self> {
        if path.exists() {
            return Err(Error::KeyExists { path: path.to_owned() });
        }
        let mut seed = [0; KEY_BYTES];
        getrandom::fill(&mut seed)
            .map_err(|error| Error::NoRandomNumbers { reason: error.to_string() })?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(Error::io(path, "create"))?;
        let text = format!("{COMMENT}\n{}\n", hex(&seed));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(Error::io(path, "write"))?;
        Ok(Self::of_seed(seed))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::NotAKey`]; [`Error::KeyExposed`] if others may read it; [`Error::Core`] if it
    /// cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode =
                std::fs::metadata(path).map_err(Error::io(path, "read"))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Error::KeyExposed { path: path.to_owned(), mode: mode & 0o777 });
            }
        }
        let seed = text.lines().filter(|line| !line.starts_with('#')).find_map(unhex);
        seed.map(Self::of_seed).ok_or_else(|| Error::NotAKey { path: path.to_owned() })
    }

    /// Returns the public key, which devices pin.
    pub fn public(&self) -> [u8; KEY_BYTES] {
        *self.pair.pk
    }

    /// Signs a message (Ed25519, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.pair.sk.sign(message, None)
    }
}

/// Formats bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses 32 bytes of hexadecimal digits.
fn unhex(line: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = line.trim();
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_pins_the_development_key() {
        use wakeling_shared::update::package::DEVELOPMENT_KEY;
        assert_eq!(Key::development().public(), DEVELOPMENT_KEY, "{}", hex(&DEVELOPMENT_KEY));
    }

    #[test]
    fn a_key_reads_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = Key::create(&path).unwrap();
        assert_eq!(Key::load(&path).unwrap().public(), made.public());
        assert_ne!(made.public(), Key::development().public());
        let again = Key::create(&path).err().unwrap().to_string();
        assert!(again.contains("there already"), "{again}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |bits| std::fs::set_permissions(&path, PermissionsExt::from_mode(bits));
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            mode(0o644).unwrap();
            let refused = Key::load(&path).err().unwrap().to_string();
            assert!(refused.contains("mode 644"), "{refused}");
            mode(0o600).unwrap();
        }
        std::fs::write(&path, "no key\n").unwrap();
        let refused = Key::load(&path).err().unwrap().to_string();
        assert!(refused.contains("no key of"), "{refused}");
    }
}
