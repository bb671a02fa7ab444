//! From JSON to a [`Config`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Config, Error, NameSelector, PoolConfig, Problem, Selector};
use crate::resource::{InvalidResource, Resource};

/// Where in the file something is.
struct At<'a> {
    path: &'a Path,
    pool: String,
    /// The selector's place in its list, where it's in one.
    selector: Option<usize>,
}

impl At<'_> {
    fn error(&self, key: &str, problem: Problem) -> Error {
        let path: PathBuf = self.path.to_owned();
        Error::Pool { path, pool: self.pool.clone(), key: self.key(key), problem }
    }

    fn key(&self, key: &str) -> String {
        match self.selector {
            Some(place) if key.is_empty() => format!("selectors[{place}]"),
            Some(place) => format!("selectors[{place}].{key}"),
            None => key.to_owned(),
        }
    }

    fn wrong_type(&self, key: &str, expected: &'static str, found: &Value) -> Error {
        self.error(key, Problem::Type { expected, found: kind(found).to_owned() })
    }
}

pub(super) fn config(path: &Path, bytes: &[u8], default_prefix: &str) -> Result<Config, Error> {
    let file: Value =
        serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let no_list = || Error::NoList { path: path.to_owned() };
    let Value::Object(mut file) = file else { return Err(no_list()) };
    let Some(Value::Array(list)) = take(&mut file, "resourceList") else { return Err(no_list()) };
    let mut warnings: Vec<String> =
        file.keys().map(|key| format!("unknown key {key:?} has no effect")).collect();
    let mut resources = BTreeSet::new();
    let mut pools = Vec::new();
    for (place, pool) in list.into_iter().enumerate() {
        let at = At {
            path,
            pool: name_of(&pool).unwrap_or_else(|| format!("number {}", place + 1)),
            selector: None,
        };
        let pool = read_pool(&at, pool, default_prefix, &mut warnings)?;
        if !resources.insert(pool.resource.clone()) {
            return Err(at.error("resourceName", Problem::Duplicate(pool.resource.to_string())));
        }
        pools.push(pool);
    }
    Ok(Config { pools, warnings })
}

fn read_pool(
    at: &At<'_>,
    pool: Value,
    default_prefix: &str,
    warnings: &mut Vec<String>,
) -> Result<PoolConfig, Error> {
    let Value::Object(mut pool) = pool else {
        return Err(at.wrong_type("resourceList", "a list of objects", &pool));
    };
    let name = text(at, &mut pool, "resourceName")?
        .ok_or_else(|| at.error("resourceName", Problem::Missing("\"resourceName\": \"…\"")))?;
    let prefix = text(at, &mut pool, "resourcePrefix")?.filter(|prefix| !prefix.is_empty());
    let resource = Resource::new(prefix.as_deref().unwrap_or(default_prefix), &name).map_err(|invalid| {
        let key = match invalid {
            InvalidResource::Prefix(_) => "resourcePrefix",
            InvalidResource::Name(_) => "resourceName",
        };
        at.error(key, Problem::Name(invalid))
    })?;
    match text(at, &mut pool, "deviceType")?.as_deref() {
        None | Some("" | "netDevice") => {}
        Some(known @ ("accelerator" | "auxNetDevice")) => {
            let what = format!("the device type {known}");
            return Err(at.error("deviceType", Problem::Unsupported(what)));
        }
        Some(other) => return Err(at.error("deviceType", Problem::UnknownType(other.to_owned()))),
    }
    let exclude_topology = flag(at, &mut pool, "excludeTopology")?.unwrap_or(false);
    let additional_info = additional_info(at, &mut pool)?;
    let selectors = selectors(at, take(&mut pool, "selectors"), warnings)?;
    warnings.extend(pool.keys().map(|key| format!("pool {}: unknown key {key:?} has no effect", at.pool)));
    Ok(PoolConfig { resource, exclude_topology, selectors, additional_info })
}

fn selectors(at: &At<'_>, value: Option<Value>, warnings: &mut Vec<String>) -> Result<Vec<Selector>, Error> {
    let missing = Problem::Missing("\"selectors\": {…}, or as {} when really every network device is meant");
    let list = match value {
        None | Some(Value::Null) => return Err(at.error("selectors", missing)),
        Some(Value::Object(selector)) => return Ok(vec![read_selector(at, selector, warnings)?]),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(at.wrong_type("selectors", "an object or a list of objects", &other)),
    };
    if list.is_empty() {
        warnings
            .push(format!("pool {}: the list of selectors is empty, so no device belongs to it", at.pool));
    }
    list.into_iter()
        .enumerate()
        .map(|(place, selector)| {
            let at = At { path: at.path, pool: at.pool.clone(), selector: Some(place) };
            let Value::Object(selector) = selector else {
                return Err(at.wrong_type("", "an object", &selector));
            };
            read_selector(&at, selector, warnings)
        })
        .collect()
}

fn read_selector(
    at: &At<'_>,
    mut selector: Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<Selector, Error> {
    for key in ["ddpProfiles", "pKeys", "auxTypes"] {
        if !texts(at, &mut selector, key)?.is_empty() {
            return Err(at.error(key, Problem::Unsupported(format!("the selector {key}"))));
        }
    }
    for key in ["isRdma", "needVhostNet"] {
        if flag(at, &mut selector, key)?.unwrap_or(false) {
            return Err(at.error(key, Problem::Unsupported(format!("{key}: true"))));
        }
    }
    if text(at, &mut selector, "vdpaType")?.is_some_and(|kind| !kind.is_empty()) {
        return Err(at.error("vdpaType", Problem::Unsupported("the selector vdpaType".to_owned())));
    }
    let read = Selector {
        vendors: each(at, &mut selector, "vendors", id)?,
        devices: each(at, &mut selector, "devices", id)?,
        drivers: texts(at, &mut selector, "drivers")?,
        pci_addresses: each(at, &mut selector, "pciAddresses", |text| {
            text.parse().map_err(Problem::Address)
        })?,
        acpi_indexes: texts(at, &mut selector, "acpiIndexes")?,
        pf_names: each(at, &mut selector, "pfNames", functions)?,
        root_devices: each(at, &mut selector, "rootDevices", functions)?,
        link_types: texts(at, &mut selector, "linkTypes")?,
    };
    let unknown = selector.keys();
    warnings
        .extend(unknown.map(|key| format!("pool {}: unknown key {:?} has no effect", at.pool, at.key(key))));
    Ok(read)
}

fn id(text: &str) -> Result<u16, Problem> {
    let four_digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = four_digits.then(|| u16::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| Problem::Id(text.to_owned()))
}

fn functions(text: &str) -> Result<NameSelector, Problem> {
    NameSelector::parse(text).ok_or_else(|| Problem::Range(text.to_owned()))
}

fn each<T>(
    at: &At<'_>,
    map: &mut Map<String, Value>,
    key: &str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, Error> {
    let texts = texts(at, map, key)?;
    texts.iter().map(|text| read(text.trim()).map_err(|problem| at.error(key, problem))).collect()
}

fn texts(at: &At<'_>, map: &mut Map<String, Value>, key: &str) -> Result<Vec<String>, Error> {
    const EXPECTED: &str = "a list of texts";
    match take(map, key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .into_iter()
            .map(|item| {
                let Value::String(text) = item else { return Err(at.wrong_type(key, EXPECTED, &item)) };
                Ok(text)
            })
            .collect(),
        Some(other) => Err(at.wrong_type(key, EXPECTED, &other)),
    }
}

fn text(at: &At<'_>, map: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Error> {
    match take(map, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(at.wrong_type(key, "a text", &other)),
    }
}

fn flag(at: &At<'_>, map: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, Error> {
    match take(map, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(other) => Err(at.wrong_type(key, "true or false", &other)),
    }
}

fn additional_info(
    at: &At<'_>,
    pool: &mut Map<String, Value>,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    const KEY: &str = "additionalInfo";
    const EXPECTED: &str = "an object of objects of texts";
    let devices = match take(pool, KEY) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(devices)) => devices,
        Some(other) => return Err(at.wrong_type(KEY, EXPECTED, &other)),
    };
    let entry = |(key, value)| {
        let Value::String(text) = value else { return Err(at.wrong_type(KEY, EXPECTED, &value)) };
        Ok((key, text))
    };
    devices
        .into_iter()
        .map(|(device, entries)| {
            let Value::Object(entries) = entries else { return Err(at.wrong_type(KEY, EXPECTED, &entries)) };
            Ok((device, entries.into_iter().map(entry).collect::<Result<_, _>>()?))
        })
        .collect()
}

/// Takes a key out of an object in whatever case it's written; of several, the last in the alphabet counts.
fn take(map: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let names: Vec<String> = map.keys().filter(|name| name.eq_ignore_ascii_case(key)).cloned().collect();
    names.into_iter().filter_map(|name| map.remove(&name)).last()
}

fn name_of(pool: &Value) -> Option<String> {
    let (_, name) = pool.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case("resourceName"))?;
    name.as_str().filter(|name| !name.is_empty()).map(ToOwned::to_owned)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
