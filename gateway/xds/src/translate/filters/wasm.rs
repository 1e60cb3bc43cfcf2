//! `wasm`: a proxy-wasm module.

use sallyport_config::Value;

use super::super::{Scope, data};
use super::Effect;
use crate::fields::Fields;
use crate::output::{Map, text};

pub(super) fn read(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    let config = fields.message("config")?;
    config.text("name");
    config.ignore("reload_config", "a VM that fails is made anew, with a back-off");
    config.ignore("capability_restriction_config", "guests have what the gateway grants them");
    let on_failure = match config.choice("failure_policy").as_deref() {
        Some("FAIL_OPEN") => Some("open"),
        Some("FAIL_RELOAD" | "FAIL_CLOSED") => None,
        _ => config.flag("fail_open").unwrap_or(false).then_some("open"),
    };
    let stops = config.flag("allow_on_headers_stop_iteration");
    let own = configuration(&config, "configuration");
    let root_id = config.text("root_id");
    let vm = config.message("vm_config")?;
    match vm.text("runtime").as_deref() {
        None
        | Some(
            "envoy.wasm.runtime.v8" | "envoy.wasm.runtime.wasmtime" | "envoy.wasm.runtime.wamr",
        ) => {}
        Some(other) => return vm.reject(format!("runs on {other}, and not in WebAssembly")),
    }
    vm.ignore("allow_precompiled", "modules are compiled here, and kept");
    vm.ignore("nack_on_code_cache_miss", "modules are files");
    vm.ignore("capability_restriction_config", "guests have what the gateway grants them");
    let mut environment = Map::new();
    if let Some(variables) = vm.message("environment_variables") {
        variables.refuse("host_env_keys", "guests do not see the gateway's own environment");
        for (key, value) in variables.text_entries("key_values") {
            environment.put(&key, text(value));
        }
    }
    let vm_configuration = configuration(&vm, "configuration");
    let vm_id = vm.text("vm_id");
    let code = vm.message("code")?;
    code.refuse("remote", "modules are files, write `local`");
    let module = data::file(scope, &code, "local")?;
    let out = Map::new()
        .with("module", text(module))
        .with_some("configuration", own)
        .with_some("vm_configuration", vm_configuration)
        .with_some("root_id", root_id.map(text))
        .with_some("vm_id", vm_id.map(text))
        .with_some("on_failure", on_failure.map(text))
        .with_some("allow_on_headers_stop_iteration", stops.filter(|it| *it).map(Value::Bool))
        .with_some("environment", environment.filled());
    Some(Effect::Settings(out.done()))
}

/// What a guest is configured with: a text, or a message that it gets as JSON.
fn configuration(fields: &Fields<'_>, name: &str) -> Option<Value> {
    let message = fields.any(name)?;
    match &*message.type_name() {
        "google.protobuf.StringValue" => message.text("value").map(text),
        "google.protobuf.BytesValue" => {
            let bytes = message.bytes("value")?;
            match String::from_utf8(bytes) {
                Ok(bytes) => Some(text(bytes)),
                Err(_) => message.reject("is no text in UTF-8"),
            }
        }
        _ => {
            message.pass_over();
            match serde_json::to_string(&message.owned()) {
                Ok(json) => Some(text(json)),
                Err(error) => message.reject(error.to_string()),
            }
        }
    }
}
