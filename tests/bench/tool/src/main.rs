//! Measures a relais daemon on loopback: HTTP in, SMPP out, receipts called back.
//!
//! One process on one thread plays all the others (client, SMSC, webhook receiver), so that it takes at most
//! one core from the gateway; what it takes is printed beside what the gateway takes.
//! Every message has an index in the last six digits of its recipient, so lost and repeated ones are counted,
//! and a run that lost one exits with 1 whatever its speed.

mod http;
mod smsc;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Hook, Target};
use smsc::Smsc;

/// What any part of the tool may fail with; it is only ever printed.
type Error = Box<dyn std::error::Error + Send + Sync>;

const ADMIN_KEY: &str = "bench-admin-key-0123456789abcdef0123456789abcdef";
/// No phase of a healthy run comes near it.
const DEADLINE: Duration = Duration::from_secs(120);

/// Which indexes have been seen, how many more than once, and when the last new one came.
struct Tally(Mutex<Seen>);

struct Seen {
    indexes: Vec<bool>,
    distinct: usize,
    repeated: usize,
    last_new: Instant,
}

impl Tally {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Seen {
            indexes: vec![false; size],
            distinct: 0,
            repeated: 0,
            last_new: Instant::now(),
        })))
    }

    /// Notes the index that ends a recipient's number; numbers of another form are ignored.
    fn note(&self, number: &str) {
        let Some(index) = number
            .len()
            .checked_sub(6)
            .and_then(|at| number.get(at..)?.parse::<usize>().ok())
        else {
            return;
        };
        let mut seen = self.seen();
        match seen.indexes.get_mut(index) {
            Some(mark) if !*mark => {
                *mark = true;
                seen.distinct += 1;
                seen.last_new = Instant::now();
            }
            _ => seen.repeated += 1,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until `count` indexes have come; when the last one came, or `None` at the deadline.
    async fn wait(&self, count: usize) -> Option<Instant> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            let seen = self.seen();
            if seen.distinct >= count {
                return Some(seen.last_new);
            }
            drop(seen);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

struct Options {
    relais: PathBuf,
    messages: usize,
    connections: usize,
    rate: usize,
    rate_seconds: usize,
    durability: String,
}

impl Options {
    fn parse() -> Result<Self, Error> {
        let mut options = Self {
            relais: PathBuf::new(),
            messages: 10_000,
            connections: 64,
            rate: 200,
            rate_seconds: 10,
            durability: "power".into(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--relais" => options.relais = value.into(),
                "--messages" => options.messages = value.parse()?,
                "--connections" => options.connections = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--rate-seconds" => options.rate_seconds = value.parse()?,
                "--durability" => options.durability = value,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if options.relais.as_os_str().is_empty() || options.messages == 0 || options.rate == 0 {
            return Err("--relais FILE is needed, --messages and --rate are above 0".into());
        }
        Ok(options)
    }
}

/// The daemon under measure; killed when dropped.
struct Daemon {
    child: tokio::process::Child,
    pid: u32,
}

impl Daemon {
    async fn start(
        options: &Options,
        folder: &Path,
        http_port: u16,
        smsc: &Smsc,
    ) -> Result<Self, Error> {
        let config = folder.join("relais.toml");
        let (data, durability, smsc_port) = (folder.join("data"), &options.durability, smsc.port);
        let text = format!(
            "data_dir = \"{}\"\n\
             [http]\nlisten = \"127.0.0.1:{http_port}\"\n\
             [store]\ndurability = \"{durability}\"\n\
             [webhooks]\nallow = [\"127.0.0.1/32\"]\n\
             [smpp.bench]\nhost = \"127.0.0.1\"\nport = {smsc_port}\n\
             system_id = \"bench\"\npassword = \"bench\"\nwindow = 100\nrate = 0\n\
             [operators.default]\nroute = [\"bench\"]\n",
            data.display()
        );
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(folder.join("relais.log"))?;
        let child = tokio::process::Command::new(&options.relais)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env("RELAIS_ADMIN_KEY", ADMIN_KEY)
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or("the daemon ended at once")?;
        let mut daemon = Self { child, pid };
        let until = Instant::now() + Duration::from_secs(30);
        while !(http::ready(http_port).await && smsc.is_bound()) {
            if let Some(status) = daemon.child.try_wait()? {
                return Err(format!("the daemon ended with {status}").into());
            }
            if Instant::now() > until {
                return Err("the daemon is not ready and bound after 30 s".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(daemon)
    }

    /// A value of /proc/PID/status in MiB.
    fn memory_mib(&self, field: &str) -> Result<f64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status
            .lines()
            .find(|l| l.starts_with(field))
            .ok_or("no such field")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
        Ok(kib / 1024.0)
    }
}

/// User and system seconds of a process. Linux counts them for user space in hundredths.
fn cpu_s(process: &str) -> Result<f64, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold spaces: count the fields from its closing parenthesis.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks =
        |at: usize| -> Result<f64, Error> { Ok(fields.get(at).ok_or("short stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn percentile_ms(latencies: &mut [Duration], share: f64) -> f64 {
    latencies.sort_unstable();
    let at = ((latencies.len() as f64 - 1.0) * share).round() as usize;
    latencies
        .get(at)
        .map_or(f64::NAN, |l| l.as_secs_f64() * 1000.0)
}

async fn measure(options: &Options, folder: &Path) -> Result<bool, Error> {
    let warm = options.rate * options.rate_seconds;
    let all = warm + options.messages;
    if all > 1_000_000 {
        return Err("an index has six digits: at most 1000000 messages".into());
    }
    let (submitted, called_back) = (Tally::new(all), Tally::new(all));
    let smsc = Smsc::start(submitted.clone()).await?;
    let hook = Hook::start(called_back.clone()).await?;
    let http_port = http::free_port()?;
    let daemon = Daemon::start(options, folder, http_port, &smsc).await?;
    let target = Target::new(http_port, ADMIN_KEY, hook.port);

    // The open loop comes first and warms caches and connections.
    let mut open = http::open_loop(&target, 0..warm, options.rate).await?;
    called_back
        .wait(warm)
        .await
        .ok_or("receipts of the open loop are missing at the deadline")?;

    let (cpu_before, own_before) = (cpu_s(&daemon.pid.to_string())?, cpu_s("self")?);
    let began = Instant::now();
    let mut closed = http::closed_loop(&target, warm..all, options.connections).await?;
    let accepted_s = began.elapsed().as_secs_f64();
    let submitted_at = submitted.wait(all).await;
    let called_back_at = called_back.wait(all).await;
    let thousands = options.messages as f64 / 1000.0;
    let cpu = (cpu_s(&daemon.pid.to_string())? - cpu_before) / thousands;
    let own_cpu = (cpu_s("self")? - own_before) / thousands;
    let per_s = |end: Option<Instant>| {
        end.map_or(0.0, |e| options.messages as f64 / (e - began).as_secs_f64())
    };

    println!("durability                 {}", options.durability);
    println!(
        "accepted                   {:10.0} /s   ({} connections, closed loop, {} messages)",
        options.messages as f64 / accepted_s,
        options.connections,
        options.messages
    );
    println!("submitted                  {:10.0} /s", per_s(submitted_at));
    println!(
        "receipts called back       {:10.0} /s",
        per_s(called_back_at)
    );
    println!(
        "POST p50, p99, closed loop {:10.2} ms {:8.2} ms",
        percentile_ms(&mut closed, 0.5),
        percentile_ms(&mut closed, 0.99)
    );
    println!(
        "POST p50, p99, {:5}/s     {:10.2} ms {:8.2} ms",
        options.rate,
        percentile_ms(&mut open, 0.5),
        percentile_ms(&mut open, 0.99)
    );
    println!(
        "RSS now, peak              {:10.1} MiB {:7.1} MiB",
        daemon.memory_mib("VmRSS:")?,
        daemon.memory_mib("VmHWM:")?
    );
    println!(
        "CPU                        {cpu:10.3} s per 1000 messages   (this tool: {own_cpu:.3})"
    );
    let (sub, back) = (submitted.seen(), called_back.seen());
    println!(
        "lost, repeated             {:10} {} submissions; {} {} callbacks",
        all - sub.distinct,
        sub.repeated,
        all - back.distinct,
        back.repeated
    );
    Ok(sub.distinct == all && back.distinct == all && sub.repeated == 0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("relais-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let folder = std::env::temp_dir().join(format!("relais-bench-{}", std::process::id()));
    let result = match std::fs::create_dir_all(&folder) {
        Ok(()) => measure(&options, &folder).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(true) => {
            let _ = std::fs::remove_dir_all(&folder);
            ExitCode::SUCCESS
        }
        Ok(false) => {
            eprintln!(
                "relais-bench: messages were lost or repeated; see {}",
                folder.display()
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("relais-bench: {error}; see {}", folder.display());
            ExitCode::FAILURE
        }
    }
}
