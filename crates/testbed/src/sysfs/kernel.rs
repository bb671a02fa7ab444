//! What the kernel does when a driver is bound or unbound, and when a function is reset.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use pci::{PciAddress, USERSPACE_DRIVERS};

use super::SysfsTree;
use crate::links::FakeLinks;

/// How often the pipes are looked at.
const STEP: Duration = Duration::from_millis(1);

/// A thread that answers writes to `unbind` and `drivers_probe` of a [`SysfsTree`], and ends when it's dropped. What
/// is written to `reset` is counted.
///
/// These files become pipes. Drivers and functions that are added later aren't listened to.
#[derive(Debug)]
pub struct FakeKernel {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    resets: Mutex<Vec<(PciAddress, Pipe, usize)>>,
}

struct Pipes {
    probe: Pipe,
    unbind: Vec<(String, Pipe)>,
}

#[derive(Debug)]
struct Pipe {
    file: File,
    text: String,
}

impl FakeKernel {
    /// Starts it. With `links`, a VF's interface goes with its network driver and comes back with it.
    pub fn start(tree: &SysfsTree, links: Option<&FakeLinks>) -> Self {
        let bus = tree.root().join("bus/pci");
        let mut unbind = Vec::new();
        for driver in fs::read_dir(bus.join("drivers")).expect("the tree has drivers").flatten() {
            let name = driver.file_name().to_string_lossy().into_owned();
            unbind.push((name, Pipe::replace(&driver.path().join("unbind"))));
        }
        let mut pipes = Pipes { probe: Pipe::replace(&bus.join("drivers_probe")), unbind };
        let mut resets = Vec::new();
        for device in fs::read_dir(bus.join("devices")).expect("the tree has devices").flatten() {
            let (address, reset) =
                (device.file_name().to_string_lossy().parse(), device.path().join("reset"));
            if let (Ok(address), true) = (address, reset.exists()) {
                resets.push((address, Pipe::replace(&reset), 0));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (tree, links, stopped) = (tree.clone(), links.cloned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                pipes.answer(&tree, links.as_ref());
                thread::sleep(STEP);
            }
        });
        Self { stop, thread: Some(thread), resets: Mutex::new(resets) }
    }

    /// How often a function was reset so far.
    pub fn resets(&self, address: &PciAddress) -> usize {
        let mut resets = self.resets.lock().expect("no test panics with the pipes locked");
        let of_function = resets.iter_mut().find(|(of, _, _)| of == address);
        let (_, pipe, count) = of_function.expect("the function can be reset");
        *count += pipe.lines().iter().filter(|line| *line == "1").count();
        *count
    }
}

impl Drop for FakeKernel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panicked();
        }
    }
}

#[expect(clippy::panic, reason = "what the thread found wrong has to fail the test")]
fn panicked() {
    panic!("the fake kernel panicked; its message is above");
}

impl Pipes {
    fn answer(&mut self, tree: &SysfsTree, links: Option<&FakeLinks>) {
        // Who unbinds and then probes has written both by the time the probe is seen, so that this order keeps his.
        let probes = self.probe.addresses();
        for (driver, pipe) in &mut self.unbind {
            for address in pipe.addresses() {
                if tree.driver(&address).as_ref() == Some(driver) {
                    tree.set_driver(&address, None);
                    tree.set_net_names(&address.to_string(), &[]);
                    if let Some(links) = links {
                        links.unbind(&address.to_string());
                    }
                }
            }
        }
        for address in probes {
            probe(tree, links, address);
        }
    }
}

fn probe(tree: &SysfsTree, links: Option<&FakeLinks>, address: PciAddress) {
    if tree.driver(&address).is_some() {
        return;
    }
    let text = tree.read(&address, "driver_override");
    let chosen = text.lines().next().filter(|name| !name.is_empty() && *name != "(null)").map(str::to_owned);
    let Some(driver) = chosen.or_else(|| tree.natural(address)) else { return };
    let device = tree.root().join("bus/pci/devices").join(address.to_string());
    let grouped = driver != pci::VFIO_PCI || device.join("iommu_group").exists();
    if tree.is_broken(&driver) || !grouped || !tree.root().join("bus/pci/drivers").join(&driver).exists() {
        return;
    }
    // The interface is there before the driver's link, so that who waits for the driver finds it.
    if let Some(links) = links.filter(|_| !USERSPACE_DRIVERS.contains(&driver.as_str())) {
        links.bind(&address.to_string());
    }
    tree.set_driver(&address, Some(&driver));
}

impl Pipe {
    fn replace(path: &PathBuf) -> Self {
        if path.exists() {
            fs::remove_file(path).expect("the tree is writable");
        }
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe can be made");
        Self { file: Self::open(path), text: String::new() }
    }

    /// Open for writing too, so that it has no end when a writer closes.
    fn open(path: &Path) -> File {
        let nonblocking = OFlag::O_NONBLOCK.bits();
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nonblocking)
            .open(path)
            .expect("the pipe is there")
    }

    fn addresses(&mut self) -> Vec<PciAddress> {
        let lines = self.lines();
        let address = |line: &String| line.parse().expect("only PCI addresses are written to these files");
        lines.iter().map(address).collect()
    }

    fn lines(&mut self) -> Vec<String> {
        let mut bytes = [0; 4096];
        loop {
            let count = match self.file.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                read => read.expect("a pipe can be read"),
            };
            self.text.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
        }
        let Some(end) = self.text.rfind('\n') else { return Vec::new() };
        let rest = self.text.split_off(end + 1);
        let whole = std::mem::replace(&mut self.text, rest);
        whole.lines().map(str::to_owned).collect()
    }
}
