//! Traces by OTLP over HTTP (protobuf), where `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says where to: a feature of the build.
//!
//! Spans are made of the lines that the engine writes about messages, whatever of them is logged:
//! `accept` when a message is taken, `submit` from there until a carrier has it, `receipt` from there until
//! it is delivered; `failed`, `expired` and `cancelled` are ends without one. They belong to the trace of
//! the caller's `traceparent`; a message without one has its own, whose id is the message's without
//! dashes. They carry ids, names and codes: no number, masked or not, and no text.
//!
//! Sending is the business of a thread with a bounded queue; what does not fit is lost, and no message
//! waits for it. The variables of the OpenTelemetry specification hold for all else: headers, service
//! name, sampler (`traceidratio` thins all traces alike), delays.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::domain::id::MessageId;
use crate::engine::journal::TARGET;

/// Traces under way; dropping it sends what waits.
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is gone is no reason to say more at the end of a daemon.
        let _ = self.0.shutdown();
    }
}

/// Starts to trace, if the environment says where to.
pub(super) fn start<S>() -> (Option<Traces>, Option<impl Layer<S> + Send + Sync>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(provider) = provider() else {
        return (None, None);
    };
    let spans = Spans {
        tracer: provider.tracer("relais"),
        clock: Clock::system(),
    };
    let changes = Targets::new().with_target(TARGET, Level::DEBUG);
    (Some(Traces(provider)), Some(spans.with_filter(changes)))
}

fn provider() -> Option<SdkTracerProvider> {
    let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let on = variable("OTEL_EXPORTER_OTLP_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        .is_some();
    if !on || variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return None;
    }
    crate::engine::outbox::install_crypto();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10));
    let client = OnRuntime {
        client: client.build().ok()?,
        runtime: Handle::try_current().ok()?,
    };
    let exporter = SpanExporter::builder().with_http().with_http_client(client);
    let mut resource = Resource::builder();
    if variable("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("relais");
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build().ok()?)
        .with_resource(resource.with_attribute(version).build());
    Some(provider.build())
}

/// Sends from the exporter's thread on the runtime's: a client needs one.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        sent.await?
    }
}

/// Makes a span of each line about a message.
struct Spans {
    tracer: SdkTracer,
    clock: Clock,
}

/// What such a line says.
#[derive(Default)]
struct Line {
    message_id: String,
    trace: String,
    parent: String,
    status: String,
    after: Duration,
    attributes: Vec<KeyValue>,
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Some(id) = MessageId::parse(&line.message_id) else {
            return;
        };
        let now = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let end = UNIX_EPOCH + Duration::from_millis(now);
        let (name, status) = match line.status.as_str() {
            "pending" => ("accept", Status::Unset),
            "sent" => ("submit", Status::Unset),
            "delivered" => ("receipt", Status::Ok),
            other => (other, Status::error(other.to_owned())),
        };
        let start: SystemTime = end.checked_sub(line.after).unwrap_or(end);
        let builder = SpanBuilder::from_name(name.to_owned())
            .with_kind(SpanKind::Producer)
            .with_start_time(start)
            .with_attributes(line.attributes.iter().cloned());
        let parent = Context::new().with_remote_span_context(line.context(id));
        let mut span = self.tracer.build_with_context(builder, &parent);
        span.set_attribute(KeyValue::new("message_id", line.message_id));
        span.set_status(status);
        span.end_with_timestamp(end);
    }
}

impl Line {
    /// The caller's context, or one that is made of the message's id.
    fn context(&self, id: MessageId) -> SpanContext {
        let given = || {
            let (span, flags) = self.parent.split_once('-')?;
            let trace = u128::from_str_radix(&self.trace, 16).ok()?;
            let span = u64::from_str_radix(span, 16).ok()?;
            Some((trace, span, u8::from_str_radix(flags, 16).ok()?))
        };
        let own = || {
            let octets = id.0.into_bytes();
            let mut half = [0; 8];
            half.copy_from_slice(&octets[8..]);
            (u128::from_be_bytes(octets), u64::from_be_bytes(half), 1)
        };
        let (trace, span, flags) = given().unwrap_or_else(own);
        SpanContext::new(
            TraceId::from(trace),
            SpanId::from(span),
            TraceFlags::new(flags),
            true,
            TraceState::default(),
        )
    }

    fn take(&mut self, field: &str, value: String) {
        match field {
            "message_id" => self.message_id = value,
            "trace" => self.trace = value,
            "parent" => self.parent = value,
            "status" => self.status = value,
            "reason" => self.attributes.push(KeyValue::new("reason", value)),
            "operator" => self.attributes.push(KeyValue::new("operator", value)),
            "channel" => self.attributes.push(KeyValue::new("channel", value)),
            // Whatever else a line may say stays at home.
            _ => {}
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "after_ms" {
            self.after = Duration::from_millis(value);
        }
    }
}
