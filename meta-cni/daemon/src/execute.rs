//! Carries a plan out, and undoes it.
//!
//! Blocking: every plugin is waited for. What is about to be done is on the disk before it's done, so that
//! whoever finds the record can undo it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use cni::error::with_sources;
use cni::{AddResult, Args, Command};
use multinet::{NetworkStatus, deviceinfo, status};
use netlink::Kernel;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::plan::Attachment;
use crate::plugins::Plugins;
use crate::routes;
use crate::store::{self, Entry, Phase, Progress, Record, Store};

/// What an execution needs besides a record.
#[derive(Debug)]
pub struct Execution<'a> {
    /// Where records are kept.
    pub store: &'a Store,
    /// Who carries out.
    pub plugins: &'a Plugins,
    /// The environment of plugins besides the variables of the call.
    pub env: Vec<(OsString, OsString)>,
    /// When everything has to be over.
    pub until: Instant,
}

impl Execution<'_> {
    /// ADD: attaches network after network. When one fails, or `cancelled` comes in between, what was done is
    /// undone in reverse and the first error returned; what couldn't be undone stays recorded.
    pub fn add(&self, record: &mut Record, cancelled: &CancellationToken) -> Result<(), cni::Error> {
        self.look_for_plugins(record)?;
        let outcome = self.attach_all(record, cancelled);
        if let Err(error) = &outcome {
            tracing::warn!(%error, "ADD failed and is undone");
            // Undoing gets its own time: the request's may be what ran out.
            let undo = Execution {
                store: self.store,
                plugins: self.plugins,
                env: self.env.clone(),
                until: Instant::now() + self.plugins.deadline,
            };
            let netns = record.netns.clone();
            for failure in undo.del(record, netns.as_ref()) {
                tracing::error!(error = %failure, "undoing an ADD failed in part");
            }
        }
        outcome
    }

    /// A plugin that isn't installed is found out before anything is done: its DEL would fail as well, and
    /// without end.
    fn look_for_plugins(&self, record: &Record) -> Result<(), cni::Error> {
        for Entry { attachment, .. } in &record.attachments {
            for plugin in &attachment.chain.plugins {
                self.plugins.look_for(&plugin.kind, &record.path).map_err(|error| {
                    cni::Error::from(error)
                        .context(format!("pod {}: network {}", record.pod, attachment.name))
                })?;
            }
        }
        Ok(())
    }

    fn attach_all(&self, record: &mut Record, cancelled: &CancellationToken) -> Result<(), cni::Error> {
        for index in 0..record.attachments.len() {
            if cancelled.is_cancelled() {
                return Err(cni::Error::try_again("the runtime gave this ADD up"));
            }
            let Some(entry) = record.attachments.get_mut(index) else { break };
            entry.progress = Progress::Adding;
            self.store.write(record)?;
            let Some(entry) = record.attachments.get(index) else { break };
            let args = args(record, &entry.attachment, record.netns.as_ref());
            let result = self.attach(&entry.attachment, &args).map_err(|error| {
                let Attachment { name, ifname, .. } = &entry.attachment;
                error.context(format!("pod {}: network {name}, interface {ifname}", record.pod))
            })?;
            if let Some(entry) = record.attachments.get_mut(index) {
                entry.progress = Progress::Added { result };
            }
        }
        set_ways_out(record)?;
        record.phase = Phase::Added;
        Ok(self.store.write(record)?)
    }

    fn attach(&self, attachment: &Attachment, args: &Args) -> Result<String, cni::Error> {
        let _logged = span(attachment).entered();
        if let Some(files) = &attachment.device_info {
            // What a device plugin doesn't describe isn't described; the network works without.
            let copied = deviceinfo::read(&files.allocated)
                .and_then(|info| info.map_or(Ok(()), |info| deviceinfo::write(&files.attached, &info)));
            if let Err(error) = copied {
                tracing::warn!(
                    network = attachment.name,
                    error = with_sources(&error),
                    "device info isn't passed on"
                );
            }
        }
        attachment.chain.add(|call| self.plugins.run(args, &self.env, call, self.until))
    }

    /// DEL: detaches in reverse whatever may be attached, and goes on after failures, which are returned.
    /// The record is gone, or holds what is left. `netns` is what the runtime says now; without it, the one
    /// that was recorded is used if it's still there.
    pub fn del(&self, record: &mut Record, netns: Option<&PathBuf>) -> Vec<cni::Error> {
        record.phase = Phase::Deleting;
        if let Err(error) = self.store.write(record) {
            tracing::warn!(
                container = record.container_id,
                error = with_sources(&error),
                "DEL goes on without a mark"
            );
        }
        let recorded = || {
            let same_boot = record.boot_id == self.store.boot_id();
            record.netns.clone().filter(|path| same_boot && path.exists())
        };
        let netns = netns.cloned().or_else(recorded);
        let mut failures = Vec::new();
        let mut left = Vec::new();
        for entry in std::mem::take(&mut record.attachments).into_iter().rev().filter(Entry::is_begun) {
            let args = args(record, &entry.attachment, netns.as_ref());
            if let Err(error) = self.detach(&entry, &args) {
                let Attachment { name, ifname, .. } = &entry.attachment;
                failures
                    .push(error.context(format!("pod {}: network {name}, interface {ifname}", record.pod)));
                left.push(entry);
            }
        }
        left.reverse();
        record.attachments = left;
        let kept = if record.attachments.is_empty() {
            self.store.remove(&record.container_id)
        } else {
            self.store.write(record)
        };
        failures.extend(kept.err().map(store::Error::into));
        failures
    }

    fn detach(&self, entry: &Entry, args: &Args) -> Result<(), cni::Error> {
        let _logged = span(&entry.attachment).entered();
        let Attachment { chain, device_info, .. } = &entry.attachment;
        chain.del(entry.result(), |call| self.plugins.run(args, &self.env, call, self.until))?;
        if let Some(files) = device_info {
            deviceinfo::remove(&files.attached)?;
        }
        Ok(())
    }

    /// CHECK of every network whose version has it; the first failure ends it.
    pub fn check(&self, record: &Record) -> Result<(), cni::Error> {
        for Entry { progress, attachment } in &record.attachments {
            let Progress::Added { result } = progress else {
                let text = format!("pod {}: network {} is not attached", record.pod, attachment.name);
                return Err(cni::Error::unknown_container(text));
            };
            if !attachment.chain.cni_version.has_check() {
                continue;
            }
            let args = args(record, attachment, record.netns.as_ref());
            let run = |call: &cni::chain::Call<'_>| self.plugins.run(&args, &self.env, call, self.until);
            attachment
                .chain
                .check(result, run)
                .map_err(|error| error.context(format!("pod {}: network {}", record.pod, attachment.name)))?;
        }
        Ok(())
    }
}

/// Makes the default routes what the pod's annotation asks for, in its namespace and in the results.
fn set_ways_out(record: &mut Record) -> Result<(), cni::Error> {
    let ways = routes::ways_out(record.attachments.iter().map(|entry| &entry.attachment));
    if ways.is_empty() {
        return Ok(());
    }
    let pod = record.pod.to_string();
    let in_pod = |error: routes::Error| cni::Error::from(error).context(format!("pod {pod}: default-route"));
    let netns = record.netns.as_deref().ok_or_else(|| {
        cni::Error::invalid_environment(format!(
            "pod {pod}: default-route needs a namespace, CNI_NETNS is empty"
        ))
    })?;
    let kernel = Kernel::new().map_err(|error| in_pod(error.into()))?;
    routes::apply(&kernel, netns, &ways).map_err(in_pod)?;
    for Entry { progress, attachment } in &mut record.attachments {
        if let Progress::Added { result } = progress {
            *result = routes::in_result(result, &attachment.ifname, &ways).map_err(in_pod)?;
        }
    }
    Ok(())
}

/// What every line that is logged about an attachment begins with.
fn span(attachment: &Attachment) -> Span {
    let Attachment { name, ifname, device, .. } = attachment;
    tracing::info_span!("attachment", network = name, ifname, device)
}

/// The call for one attachment.
fn args(record: &Record, attachment: &Attachment, netns: Option<&PathBuf>) -> Args {
    Args {
        command: Command::Add,
        container_id: record.container_id.clone(),
        netns: netns.cloned(),
        ifname: attachment.ifname.clone(),
        args: attachment.args.clone(),
        path: record.path.clone(),
    }
}

/// The answer to ADD: the default network's result.
pub fn answer(record: &Record) -> Result<AddResult, cni::Error> {
    let result = record.attachments.first().and_then(Entry::result).unwrap_or("{}");
    Ok(AddResult::parse(result.as_bytes())?)
}

/// What the pod is told that it got.
pub fn network_status(record: &Record) -> Result<Vec<NetworkStatus>, cni::Error> {
    let mut entries = Vec::new();
    for (index, entry) in record.attachments.iter().enumerate() {
        let Attachment { name, ifname, device_info, .. } = &entry.attachment;
        let result = AddResult::parse(entry.result().unwrap_or("{}").as_bytes())?;
        // A file that can't be read is no reason to fail an ADD that succeeded.
        let info = device_info.as_ref().and_then(|files| deviceinfo::read(&files.attached).ok().flatten());
        entries.extend(status::entries(
            &result,
            &status::Attachment { name, ifname, is_default: index == 0, device_info: info.as_ref() },
        ));
    }
    Ok(entries)
}
