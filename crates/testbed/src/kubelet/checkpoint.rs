//! Kubelet's checkpoint file, in its real form.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use kubelet::Message;
use kubelet::deviceplugin::v1beta1::ContainerAllocateResponse;
use serde::{Deserialize, Serialize};

use super::state::{Allocation, Pod, Record, State};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File<'a> {
    #[serde(borrow)]
    data: Data<'a>,
    /// Kubelet's own is a hash over how its language prints the data; nobody but kubelet can compute it.
    checksum: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data<'a> {
    pod_device_entries: Option<Vec<Entry>>,
    #[serde(borrow)]
    registered_devices: BTreeMap<&'a str, Vec<&'a str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    container_name: String,
    resource_name: String,
    #[serde(rename = "DeviceIDs")]
    device_ids: BTreeMap<i64, Vec<String>>,
    alloc_resp: String,
}

pub(super) fn write(path: &Path, state: &State) -> io::Result<()> {
    let entries: Vec<Entry> = state.records().iter().map(entry).collect();
    let data = Data {
        // Kubelet writes null for none.
        pod_device_entries: (!entries.is_empty()).then_some(entries),
        registered_devices: state.registered_devices(),
    };
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".kubelet_internal_checkpoint").tempfile_in(directory)?;
    file.write_all(&serde_json::to_vec(&File { data, checksum: 0 })?)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What the file remembers of allocations; nothing when there is none, as on a new node.
pub(super) fn read(path: &Path) -> Vec<Record> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let entries =
        serde_json::from_slice::<File<'_>>(&bytes).ok().and_then(|file| file.data.pod_device_entries);
    entries.unwrap_or_default().into_iter().map(record).collect()
}

fn entry(record: &Record) -> Entry {
    let Allocation { container, resource, response, .. } = &record.allocation;
    Entry {
        pod_uid: record.pod.uid.clone(),
        container_name: container.clone(),
        resource_name: resource.clone(),
        device_ids: record.nodes.clone(),
        alloc_resp: base64(&response.encode_to_vec()),
    }
}

fn record(entry: Entry) -> Record {
    let Entry { pod_uid: uid, container_name: container, resource_name: resource, device_ids: nodes, .. } =
        entry;
    Record {
        pod: Pod { namespace: String::new(), name: String::new(), uid },
        allocation: Allocation {
            container,
            resource,
            ids: nodes.values().flatten().cloned().collect(),
            response: ContainerAllocateResponse::default(),
        },
        nodes,
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = ALPHABET.get(group >> (18 - 6 * place) & 63).copied().map_or('=', char::from);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("", "")]
    #[case("f", "Zg==")]
    #[case("fo", "Zm8=")]
    #[case("foo", "Zm9v")]
    #[case("foobar", "Zm9vYmFy")]
    fn base64_is_the_standards(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(super::base64(text.as_bytes()), expected);
    }
}
