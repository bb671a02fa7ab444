//! A JSON object whose values keep their text.
//!
//! Reading a configuration into numbers and writing it out again changes it: `1.50` becomes `1.5`,
//! an integer above 64 bits becomes a float. An [`Object`] takes a document apart at its first level
//! only; what isn't replaced is written as it was read, in the order it was read.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON object; keys in the order they were read, values as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Object {
    entries: Vec<(String, Box<str>)>,
}

/// Why an object or one of its values can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text isn't a JSON object.
    #[error("not a JSON object")]
    Parse(#[source] serde_json::Error),
    /// The value has another type than the key wants.
    #[error("key {key:?} has a value of the wrong kind")]
    Read {
        /// The key.
        key: String,
        /// What was expected.
        #[source]
        source: serde_json::Error,
    },
    /// The text given for a key isn't JSON.
    #[error("the value for key {key:?} is not JSON")]
    Set {
        /// The key.
        key: String,
        /// Where the text goes wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl Object {
    /// Takes a JSON object apart. Of a repeated key the last value counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(Error::Parse)
    }

    /// No keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// Keys and the text of their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_ref()))
    }

    /// The text of a value: JSON, as it was read. A `null` is a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A value as `T`; `None` for a missing key and for `null`. A key that differs only in case counts
    /// where the exact one is missing: existing configurations were written for readers that ignore case.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let folded =
            || self.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key)).last().map(|(_, text)| text);
        match self.get(key).or_else(folded) {
            None => Ok(None),
            Some(text) => {
                serde_json::from_str(text).map_err(|source| Error::Read { key: key.to_owned(), source })
            }
        }
    }

    /// [`read`](Object::read), and removes the key in whatever case.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.read(key)?;
        self.forget(key);
        Ok(value)
    }

    /// Puts a value in place of the one there is, or last.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.put(key, value.into().to_string());
    }

    /// Puts an object, with its text unchanged.
    pub fn set_object(&mut self, key: &str, value: &Object) {
        self.put(key, value.to_string());
    }

    /// Puts a list of objects, with their text unchanged.
    pub fn set_list<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a Object>) {
        let values: Vec<String> = values.into_iter().map(Object::to_string).collect();
        self.put(key, format!("[{}]", values.join(",")));
    }

    /// Puts a value given as JSON text, which stays as it is.
    pub fn set_json(&mut self, key: &str, text: &str) -> Result<(), Error> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|source| Error::Set { key: key.to_owned(), source })?;
        self.put(key, raw.get());
        Ok(())
    }

    /// Puts every value of `other`, over those that are there.
    pub fn merge(&mut self, other: &Object) {
        for (key, value) in other.iter() {
            self.put(key, value);
        }
    }

    /// Removes a key; returns whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(name, _)| name != key);
        self.entries.len() != before
    }

    /// Removes a key in whatever case.
    pub(crate) fn forget(&mut self, key: &str) {
        self.entries.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
    }

    fn put(&mut self, key: &str, text: impl Into<Box<str>>) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, value)) => *value = text.into(),
            None => self.entries.push((key.to_owned(), text.into())),
        }
    }
}

/// The object as JSON, compact but for what its values brought along.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}:{value}", Value::from(key))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Object {
    /// Only by `serde_json`, and not inside a flattened or tagged type: those lose the text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in self.iter() {
            let raw: &RawValue = serde_json::from_str(value).map_err(S::Error::custom)?;
            map.serialize_entry(key, raw)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    /// Only by `serde_json`, and not inside a flattened or tagged type: those have no text any more.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    object.put(&key, value);
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests;
