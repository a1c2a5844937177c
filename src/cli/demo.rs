//! `relais demo`: the whole gateway at work, with a simulated carrier and a simulated GSM modem in the
//! same process.
//!
//! The messages go the way of any client's: over HTTP to the daemon, over TCP to the SMSC, over a
//! pseudo terminal to the modem. What the account shows is read back from the API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::args::Demo;
use super::client::{self, Api};
use super::out::Paint;
use super::serve::{self, Signals};
use super::texts::{LONG_SAMPLE, Lang};
use super::{Failure, log, out, runtime};
use crate::clock::{Clock, Random};
use crate::config::{self, Log, LogFormat};
use crate::daemon::{Daemon, Parts, Running};
use crate::sim::modem::{self, ModemHandle, ModemScript};
use crate::sim::smsc::{self, SmscHandle, SmscScript};

/// How long a message may take to its final status before the demonstration is called a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a message.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long carrier and modem take to answer, and to deliver: enough to see each status.
const ANSWER_MS: u64 = 40;
const DELIVERY_MS: u64 = 300;

/// By the carrier, and by the modem: the configuration routes by the prefix.
const TO: &str = "+33612345678";
const TO_BY_MODEM: &str = "+33712345678";
const WIDTH: usize = 76;

/// Runs the demonstration, and goes on serving unless told otherwise.
pub(super) fn run(demo: &Demo, lang: Lang) -> Result<(), Failure> {
    let _logging = log::init(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
    let folder = TemporaryFolder::new()?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let stage = tokio::select! {
            stage = Stage::set(demo, folder.path(), lang) => stage?,
            () = signals.until_stop() => return Ok(()),
        };
        let told = tokio::select! {
            told = stage.play() => told.map(|()| !demo.once),
            () = signals.until_stop() => Ok(false),
        };
        if matches!(told, Ok(true)) {
            stage.invite()?;
            signals.until_stop().await;
        }
        stage.clear(signals).await;
        told.map(drop)
    })
}

/// How a message leaves.
#[derive(Clone, Copy)]
enum Way {
    Carrier,
    Modem,
}

/// The daemon, its carrier, its modem, and who tells about them.
struct Stage {
    running: Running,
    smsc: SmscHandle,
    modem: ModemHandle,
    api: Api,
    clock: Clock,
    lang: Lang,
    paint: Paint,
}

impl Stage {
    /// Starts carrier, modem and daemon, and waits until the carrier is bound.
    async fn set(demo: &Demo, data_dir: &Path, lang: Lang) -> Result<Self, Failure> {
        let paint = Paint::for_stdout();
        let clock = Clock::system();
        title(&lang.demo_title(), paint)?;
        let mut script = SmscScript {
            response_delay_ms: ANSWER_MS,
            ..SmscScript::default()
        };
        script.receipts.delay_ms = DELIVERY_MS;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let smsc = smsc::serve(listener, script, &clock, &Random::system())?;

        let mut script = ModemScript {
            link: data_dir.join("modem"),
            send_ms: Some(ANSWER_MS),
            ..ModemScript::default()
        };
        script.reports.delay_ms = DELIVERY_MS;
        let modem = modem::serve(script, &clock, &Random::system())?;

        let text = format!(
            "data_dir = {:?}\n[http]\nlisten = \"{}\"\n[webhooks]\nallow = [\"127.0.0.1/32\"]\n\
             [smpp.demo]\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"demo\"\n\
             password = \"demo\"\n[modem.sim]\ndevice = {:?}\n\
             [operators.mobile]\nprefixes = [\"+337\"]\nroute = [\"sim\"]\n\
             [operators.default]\nroute = [\"demo\"]\n",
            data_dir.display().to_string(),
            demo.listen,
            modem.link().display().to_string(),
        );
        let config = config::parse(&text, "demo")?;
        let running = Daemon::start(config, Parts::system())
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let bound = smsc.wait_for(|ledger| ledger.bound > 0);
        tokio::time::timeout(PATIENCE, bound)
            .await
            .map_err(|_| Failure::Failed(lang.demo_late()))?;
        let url = format!("http://{}", running.http_addr);
        // The five words are French; who reads English gets a gloss.
        let api = Api::new(url, running.admin_key.clone(), Lang::Fr)?;
        let stage = Self {
            running,
            smsc,
            modem,
            api,
            clock,
            lang,
            paint,
        };
        stage.step(
            &paint.green("✓"),
            1,
            &lang.demo_started(),
            stage.clock.elapsed(),
        )?;
        Ok(stage)
    }

    /// Sends the messages and follows each to its end.
    async fn play(&self) -> Result<(), Failure> {
        self.follow(Way::Carrier, &self.lang.demo_sample()).await?;
        self.follow(Way::Carrier, LONG_SAMPLE).await?;
        let at = self.modem_up().await?;
        out::line("")?;
        let mark = self.paint.green("✓");
        self.step(&mark, 1, &self.lang.demo_modem_up(), at)?;
        self.follow(Way::Modem, &self.lang.demo_sample_by_modem())
            .await
    }

    /// Waits until the modem is set up and registered; how long that took from the start.
    async fn modem_up(&self) -> Result<Duration, Failure> {
        loop {
            let channels = self.api.call(Method::GET, "/v1/channels", None).await?;
            let up = client::list(&channels, "data")
                .iter()
                .any(|channel| channel["modem"].is_object() && word(channel, "status") == "up");
            let took = self.clock.elapsed();
            if up {
                return Ok(took);
            }
            if took > PATIENCE {
                return Err(Failure::Failed(self.lang.demo_late()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn follow(&self, way: Way, text: &str) -> Result<(), Failure> {
        let began = self.clock.elapsed();
        let to = match way {
            Way::Carrier => TO,
            Way::Modem => TO_BY_MODEM,
        };
        let body = json!({ "to": to, "text": text, "class": "transactional" });
        let message = self
            .api
            .call(Method::POST, "/v1/messages", Some(&body))
            .await?;
        let accepted = self.clock.elapsed() - began;
        let parts = message["parts"].as_u64().unwrap_or(1);
        let alphabet = word(&message, "encoding").to_uppercase();
        out::line("")?;
        out::line(&format!(
            "  {} {to}  {}",
            self.paint.cyan("→"),
            self.paint
                .dim(&format!("{alphabet}, {}", self.lang.parts(parts)))
        ))?;
        for line in wrap(text, WIDTH - 6) {
            out::line(&format!("    {}", self.paint.bold(&line)))?;
        }
        self.status("pending", &message, &self.lang.demo_accepted(), accepted)?;

        let path = format!("/v1/messages/{}", word(&message, "id"));
        let mut shown = "pending".to_owned();
        loop {
            let message = self.api.call(Method::GET, &path, None).await?;
            let took = self.clock.elapsed() - began;
            let status = word(&message, "status").to_owned();
            if status != shown {
                if status == "delivered" && shown == "pending" {
                    // Both happened between two looks: the steps are shown all the same.
                    let what = self.submitted(way, parts);
                    self.status("sent", &json!({ "label": "Envoyé" }), &what, took)?;
                }
                let what = match status.as_str() {
                    "sent" => self.submitted(way, parts),
                    "delivered" => self.received(way, parts),
                    _ => word(&message, "reason").to_owned(),
                };
                self.status(&status, &message, &what, took)?;
                match status.as_str() {
                    "delivered" => return Ok(()),
                    "pending" | "sent" => shown = status,
                    _ => return Err(Failure::Failed(self.lang.demo_ended(&status))),
                }
            }
            if took > PATIENCE {
                return Err(Failure::Failed(self.lang.demo_late()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn submitted(&self, way: Way, parts: u64) -> String {
        match way {
            Way::Carrier => self.lang.demo_submitted(parts),
            Way::Modem => self.lang.demo_submitted_by_modem(parts),
        }
    }

    fn received(&self, way: Way, parts: u64) -> String {
        match way {
            Way::Carrier => self.lang.demo_receipt(parts),
            Way::Modem => self.lang.demo_report(parts),
        }
    }

    fn status(
        &self,
        status: &str,
        message: &Value,
        what: &str,
        took: Duration,
    ) -> Result<(), Failure> {
        let label = self.lang.with_gloss(word(message, "label"), status);
        let width = label.chars().count();
        let label = match status {
            "pending" => self.paint.yellow(&label),
            "sent" => self.paint.cyan(&label),
            "delivered" => self.paint.green(&label),
            _ => self.paint.red(&label),
        };
        self.step(&label, width, what, took)
    }

    /// One line of the account: a mark of `width` columns, what happened, and after how long.
    fn step(&self, mark: &str, width: usize, what: &str, took: Duration) -> Result<(), Failure> {
        let column = if width == 1 {
            1
        } else {
            self.lang.label_width()
        };
        let gap = " ".repeat(column.saturating_sub(width) + 2);
        let took = format!("{} ms", took.as_millis());
        let used = 4 + column + 2 + what.chars().count() + took.len();
        let fill = " ".repeat(WIDTH.saturating_sub(used).max(1));
        out::line(&format!(
            "    {mark}{gap}{what}{fill}{}",
            self.paint.dim(&took)
        ))?;
        Ok(())
    }

    /// Says where the daemon is and how to use it.
    fn invite(&self) -> Result<(), Failure> {
        let url = format!("http://{}", self.running.http_addr);
        let key = self.running.admin_key.expose_secret();
        out::line("")?;
        out::line(&self.paint.dim(&"─".repeat(WIDTH)))?;
        out::line(&format!(
            "  {}  {}",
            self.lang.demo_api(),
            self.paint.cyan(&format!("{url}/docs"))
        ))?;
        out::line(&format!("  {}  {key}", self.lang.demo_key()))?;
        out::line("")?;
        out::line(&format!("  {}", self.lang.demo_try()))?;
        out::line(&format!(
            "curl -s {url}/v1/messages -H 'Authorization: Bearer {key}' \\\n     \
             -H 'Content-Type: application/json' -d '{{\"to\":\"{TO}\",\"text\":\"Bonjour\"}}'"
        ))?;
        out::line("")?;
        let ways = self
            .lang
            .demo_ways(&self.modem.link().display().to_string());
        out::line(&format!("  {}", self.paint.dim(&ways)))?;
        out::line(&format!("  {}", self.paint.dim(&self.lang.demo_stop())))?;
        Ok(())
    }

    async fn clear(self, signals: Signals) {
        serve::stop(self.running, signals).await;
        self.smsc.shutdown().await;
        self.modem.shutdown().await;
    }
}

fn word<'a>(message: &'a Value, key: &str) -> &'a str {
    message[key].as_str().unwrap_or("")
}

fn title(text: &str, paint: Paint) -> Result<(), Failure> {
    let inner = WIDTH - 2;
    let fill = " ".repeat(inner.saturating_sub(text.chars().count() + 2));
    out::line(&paint.cyan(&format!("╭{}╮", "─".repeat(inner))))?;
    let side = paint.cyan("│");
    out::line(&format!("{side}  {}{fill}{side}", paint.bold(text)))?;
    out::line(&paint.cyan(&format!("╰{}╯", "─".repeat(inner))))?;
    Ok(())
}

/// Breaks a text at spaces into lines of at most `width` characters, where its words allow that.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A folder of our own under the system's temporary one, removed with its value.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = u64::from_be_bytes(Random::system().bytes());
        let path = std::env::temp_dir().join(format!("relais-demo-{name:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_at_its_spaces() {
        assert_eq!(wrap("un deux trois", 7), ["un deux", "trois"]);
        assert_eq!(wrap("interminable", 4), ["interminable"]);
    }
}
