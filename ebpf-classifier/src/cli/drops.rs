//! `sallyport-classifier drops`: which packets are dropped, and why.
//!
//! The program copies packets only while somebody asks. That is said in a map with a time until
//! when, so that nothing is copied any more soon after this process ends, however it ends.

mod describe;
mod pcap;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use aya::maps::{Map as AyaMap, MapData, RingBuf};
use clap::Parser;
use classifier_abi::{Address, Reason, Sample, SampleRate, Watch, map as name};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use zerocopy::FromBytes;

use super::{Failure, Which};
use crate::pinned::{self, Access, Map, Maps, PerCpuArray};

/// For how long the program is asked at once.
const LEASE_NS: u64 = 3_000_000_000;

/// How often that is renewed.
const RENEWAL_NS: u64 = 1_000_000_000;

/// How often samples are fetched: the buffer holds those of several times as long.
const POLL: Duration = Duration::from_millis(50);

/// Samples that are written before the lease and signals are looked at again: those of a full
/// buffer.
const TURN_MAX: usize = 4_096;

/// Print packets as they are dropped.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Only those dropped for this reason, as the metrics name it: syn_flood_source, verdict, ...
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
    /// Only those from this address or prefix
    #[arg(long, value_parser = source)]
    source: Option<IpNet>,
    /// Also write them to this file, for tcpdump and Wireshark; their first 128 bytes
    #[arg(long)]
    pcap: Option<PathBuf>,
    /// End after printing COUNT packets
    #[arg(long)]
    count: Option<u64>,
}

fn reason(text: &str) -> Result<Reason, String> {
    let mut droppable = Reason::ALL.iter().filter(|reason| drops(**reason));
    let found = droppable.clone().find(|reason| reason.label() == text);
    found.copied().ok_or_else(|| {
        let first = droppable.next().map_or("", |reason| reason.label());
        let labels: Vec<_> = droppable.map(|reason| reason.label()).collect();
        format!("write one of {first}, {}", labels.join(", "))
    })
}

/// Whether packets are dropped for it.
fn drops(reason: Reason) -> bool {
    matches!(reason, Reason::Network | Reason::Verdict) || reason.screen().is_some()
}

fn source(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "write an address or a prefix, such as 192.0.2.1 or 2001:db8::/48".into())
}

/// Prints dropped packets until told to end.
///
/// # Errors
/// If the maps of the classifier cannot be opened for writing, or somebody else asks already.
pub fn main(args: &Args) -> Result<(), Failure> {
    let pin_path = args.which.pin_path()?;
    // Says in the usual words what is amiss with the pins.
    drop(Maps::open(&pin_path, Access::Read)?);
    let watch = Map::open(&pin_path.join(name::DROPS_WATCH), Access::Write)?;
    let rate = PerCpuArray::open(&pin_path.join(name::DROPS_RATE))?;
    let pinned = MapData::from_pin(pin_path.join(name::DROPS)).and_then(AyaMap::from_map_data);
    let samples = pinned.and_then(RingBuf::try_from).context("cannot open `drops`")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(follow(args, Lease { watch, of: asked(args) }, &rate, samples))?)
}

/// What is asked of the program.
fn asked(args: &Args) -> Watch {
    let counter = args.reason.map_or(Watch::EVERY_REASON, |reason| reason.counter(true));
    let Some(source) = args.source else { return Watch { counter, ..Watch::default() } };
    let before = if source.addr().is_ipv4() { 96 } else { 0 };
    let mask = Address::mask(before + u32::from(source.prefix_len()));
    Watch { counter, source: Address::from(source.addr()).masked(&mask), mask, ..Watch::default() }
}

/// The right to be sent samples; given back with this value.
struct Lease {
    watch: Map<u32, Watch>,
    of: Watch,
}

impl Lease {
    fn begin(&self) -> anyhow::Result<()> {
        let found = self.watch.lookup(&0).context("cannot read `drops_watch`")?;
        if found.is_some_and(|found| found.until_ns > pinned::ktime_ns()) {
            bail!("another `sallyport-classifier drops` is at work: end it, or wait for 3 s");
        }
        self.renew()
    }

    fn renew(&self) -> anyhow::Result<()> {
        let until_ns = pinned::ktime_ns() + LEASE_NS;
        self.watch.insert(&0, Watch { until_ns, ..self.of }).context("cannot write `drops_watch`")
    }

    fn end(&self) -> anyhow::Result<()> {
        self.watch.insert(&0, Watch::default()).context("cannot write `drops_watch`")
    }
}

async fn follow(
    args: &Args,
    lease: Lease,
    rate: &PerCpuArray<SampleRate>,
    mut samples: RingBuf<MapData>,
) -> anyhow::Result<()> {
    let mut ends = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    // Before the file is made: it may be that of whoever asks already.
    lease.begin()?;
    let opened = Output::open(args);
    if opened.is_err() {
        lease.end()?;
    }
    let mut output = opened?;
    // Samples that an earlier reader asked for and did not take.
    for _ in 0..TURN_MAX {
        if samples.next().is_none() {
            break;
        }
    }
    let missed_before = missed(rate)?;
    let mut renewed_ns = pinned::ktime_ns();
    let [interrupt, terminate] = &mut ends;
    let result = loop {
        match output.take(&mut samples) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            // Whoever read this has enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
            Err(error) => break Err(error).context("cannot write"),
        }
        if pinned::ktime_ns().saturating_sub(renewed_ns) > RENEWAL_NS {
            renewed_ns = pinned::ktime_ns();
            if let Err(error) = lease.renew() {
                break Err(error);
            }
        }
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
    };
    let ended = lease.end();
    let missed = missed(rate)?.saturating_sub(missed_before);
    if missed > 0 {
        eprintln!("{missed} more were dropped than are shown: 10,000 a second are, for each CPU");
    }
    result.and(ended)
}

fn missed(rate: &PerCpuArray<SampleRate>) -> anyhow::Result<u64> {
    let cpus = rate.lookup(0).context("cannot read `drops_rate`")?;
    Ok(cpus.iter().fold(0_u64, |sum, cpu| sum.wrapping_add(cpu.missed)))
}

/// Where samples go.
struct Output {
    pcap: Option<BufWriter<File>>,
    left: u64,
    /// What is to be added to a time of the kernel's for one of the calendar.
    since_epoch_ns: u64,
}

impl Output {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let pcap = args.pcap.as_ref().map(|path| -> anyhow::Result<_> {
            let file = File::create(path);
            let mut file =
                BufWriter::new(file.with_context(|| format!("cannot write {}", path.display()))?);
            file.write_all(&pcap::header())?;
            file.flush()?;
            Ok(file)
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_epoch_ns = (now.as_nanos() as u64).saturating_sub(pinned::ktime_ns());
        let left = args.count.unwrap_or(u64::MAX);
        Ok(Self { pcap: pcap.transpose()?, left, since_epoch_ns })
    }

    /// Writes what is there; returns whether more is wanted.
    fn take(&mut self, samples: &mut RingBuf<MapData>) -> io::Result<bool> {
        let mut lines = io::stdout().lock();
        for _ in 0..TURN_MAX {
            let item = if self.left > 0 { samples.next() } else { None };
            let Some(item) = item else { break };
            let Ok(sample) = Sample::read_from_bytes(&item) else { continue };
            let data = sample.data.get(..sample.captured as usize).unwrap_or(&sample.data);
            let time_ns = sample.ktime_ns + self.since_epoch_ns;
            if let Some(pcap) = &mut self.pcap {
                pcap.write_all(&pcap::record(time_ns, sample.bytes, data))?;
            }
            writeln!(lines, "{}", describe::line(time_ns, &sample, data))?;
            self.left -= 1;
        }
        lines.flush()?;
        self.pcap.as_mut().map_or(Ok(()), BufWriter::flush)?;
        Ok(self.left > 0)
    }
}
