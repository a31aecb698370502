//! `info`: the engine's own description, as text or through a template.

use std::fmt::Write as _;

use serde_json::Value as Json;
use types::units::bytes_size;

use super::super::table::FormatError;
use super::super::template::{Options, Template};
use super::super::typed::others::INFO;
use super::super::typed::typed;

/// What `info` prints: standard output, and warnings for standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InfoText {
    /// For standard output.
    pub(crate) out: String,
    /// For standard error.
    pub(crate) err: String,
}

/// `info --format`, over a document with Docker's members: those of `GET /info` at the top, and
/// `ClientInfo`. A missing key prints as `<no value>`. A parse error exits with 64.
pub(crate) fn info_format(document: &Json, format: &str) -> Result<String, FormatError> {
    let text = if format == "json" {
        "{{json .}}"
    } else {
        format
    };
    let template = Template::parse(text).map_err(FormatError::Parse)?;
    let out = template
        .execute(&typed(&INFO, document), Options::default())
        .map_err(FormatError::ExecutePlain)?;
    Ok(out + "\n")
}

/// `info` without a format: Docker's lines, those without a value left out as Docker does.
pub(crate) fn info_text(document: &Json) -> InfoText {
    let mut text = Lines {
        document,
        out: String::new(),
    };
    text.client();
    text.out.push_str("\nServer:\n");
    text.counts();
    text.plugins();
    text.runtimes();
    text.host();
    text.registries();
    text.out.push('\n');
    let mut err = String::new();
    for warnings in ["/ClientInfo/Warnings", "/Warnings"] {
        for warning in text.strings(warnings) {
            err.push_str(warning);
            err.push('\n');
        }
    }
    InfoText { out: text.out, err }
}

struct Lines<'a> {
    document: &'a Json,
    out: String,
}

impl<'a> Lines<'a> {
    fn get(&self, path: &str) -> &'a Json {
        self.document.pointer(path).unwrap_or(&Json::Null)
    }

    fn text(&self, path: &str) -> String {
        match self.get(path) {
            Json::String(text) => text.clone(),
            Json::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn strings(&self, path: &str) -> Vec<&'a str> {
        let items = self
            .get(path)
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        items.iter().filter_map(Json::as_str).collect()
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A line with a value, empty or not.
    fn value(&mut self, label: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{label} {value}");
    }

    fn member(&mut self, label: &str, path: &str) {
        let value = self.text(path);
        self.value(label, &value);
    }

    /// A line only when the value is not empty.
    fn filled(&mut self, label: &str, path: &str) {
        let value = self.text(path);
        if !value.is_empty() {
            self.value(label, &value);
        }
    }

    fn number(&mut self, label: &str, path: &str) {
        let value = self.get(path).as_i64().unwrap_or(0).to_string();
        self.value(label, &value);
    }

    fn flag(&mut self, label: &str, path: &str) {
        let value = self.get(path).as_bool().unwrap_or(false).to_string();
        self.value(label, &value);
    }

    fn list(&mut self, label: &str, path: &str) {
        let value = self.strings(path).join(" ");
        self.value(label, &value);
    }

    fn block(&mut self, title: &str, path: &str) {
        let items = self.strings(path);
        if !items.is_empty() {
            self.line(title);
            for item in items {
                self.line(&format!("  {item}"));
            }
        }
    }

    fn client(&mut self) {
        match self.text("/ClientInfo/Platform/Name").as_str() {
            "" => self.line("Client:"),
            name => self.value("Client:", name),
        }
        self.filled(" Version:   ", "/ClientInfo/Version");
        self.member(" Context:   ", "/ClientInfo/Context");
        self.flag(" Debug Mode:", "/ClientInfo/Debug");
        let plugins = self
            .get("/ClientInfo/Plugins")
            .as_array()
            .map(Vec::as_slice);
        let plugins = plugins.unwrap_or_default();
        if !plugins.is_empty() {
            self.line(" Plugins:");
        }
        for plugin in plugins {
            let text = |member: &str| plugin[member].as_str().unwrap_or("");
            let (name, about, vendor) = (text("Name"), text("ShortDescription"), text("Vendor"));
            self.line(&format!("  {name}: {about} ({vendor})"));
            for (label, member) in [("    Version: ", "Version"), ("    Path:    ", "Path")] {
                if !text(member).is_empty() {
                    self.value(label, text(member));
                }
            }
        }
    }

    fn counts(&mut self) {
        self.number(" Containers:", "/Containers");
        self.number("  Running:", "/ContainersRunning");
        self.number("  Paused:", "/ContainersPaused");
        self.number("  Stopped:", "/ContainersStopped");
        self.number(" Images:", "/Images");
        self.filled(" Server Version:", "/ServerVersion");
        self.filled(" Storage Driver:", "/Driver");
        for pair in self.get("/DriverStatus").as_array().into_iter().flatten() {
            let part = |index: usize| pair[index].as_str().unwrap_or("");
            let (key, value) = (part(0), part(1));
            self.line(&format!("  {key}: {value}"));
        }
        self.filled(" Logging Driver:", "/LoggingDriver");
        self.filled(" Cgroup Driver:", "/CgroupDriver");
        self.filled(" Cgroup Version:", "/CgroupVersion");
    }

    fn plugins(&mut self) {
        self.line(" Plugins:");
        self.list("  Volume:", "/Plugins/Volume");
        self.list("  Network:", "/Plugins/Network");
        // Ours: Docker knows none.
        self.filled("   Short Way Past Bridges:", "/NetworkShortcut");
        if !self.strings("/Plugins/Authorization").is_empty() {
            self.list("  Authorization:", "/Plugins/Authorization");
        }
        self.list("  Log:", "/Plugins/Log");
        self.block(" CDI spec directories:", "/CDISpecDirs");
        self.member(" Swarm:", "/Swarm/LocalNodeState");
    }

    fn runtimes(&mut self) {
        if let Some(runtimes) = self
            .get("/Runtimes")
            .as_object()
            .filter(|map| !map.is_empty())
        {
            let names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
            self.value(" Runtimes:", &names.join(" "));
            self.member(" Default Runtime:", "/DefaultRuntime");
        }
        if self.text("/OSType") != "linux" {
            return;
        }
        self.member(" Init Binary:", "/InitBinary");
        self.member(" containerd version:", "/ContainerdCommit/ID");
        self.member(" runc version:", "/RuncCommit/ID");
        self.member(" init version:", "/InitCommit/ID");
        let options = self.strings("/SecurityOptions");
        if !options.is_empty() {
            self.line(" Security Options:");
        }
        for option in options {
            // `name=seccomp,profile=builtin`; an option without a name is its own.
            let parts: Vec<(&str, &str)> = option
                .split(',')
                .map(|part| part.split_once('=').unwrap_or(("name", part)))
                .collect();
            for (key, value) in parts {
                match key {
                    "name" => self.line(&format!("  {value}")),
                    "profile" => self.value("   Profile:", value),
                    _ => {}
                }
            }
        }
    }

    fn host(&mut self) {
        self.filled(" Kernel Version:", "/KernelVersion");
        self.filled(" Operating System:", "/OperatingSystem");
        self.filled(" OSType:", "/OSType");
        self.filled(" Architecture:", "/Architecture");
        self.number(" CPUs:", "/NCPU");
        let memory = self.get("/MemTotal").as_f64().unwrap_or(0.0);
        self.value(" Total Memory:", &bytes_size(memory));
        self.filled(" Name:", "/Name");
        self.filled(" ID:", "/ID");
        self.member(" Docker Root Dir:", "/DockerRootDir");
        self.flag(" Debug Mode:", "/Debug");
        self.filled(" HTTP Proxy:", "/HttpProxy");
        self.filled(" HTTPS Proxy:", "/HttpsProxy");
        self.filled(" No Proxy:", "/NoProxy");
        self.filled(" Username:", "/UserName");
        self.block(" Labels:", "/Labels");
        self.flag(" Experimental:", "/ExperimentalBuild");
    }

    fn registries(&mut self) {
        let cidrs = self.strings("/RegistryConfig/InsecureRegistryCIDRs");
        let indexes = self.get("/RegistryConfig/IndexConfigs").as_object();
        let indexes: Vec<&Json> = indexes
            .map(|map| map.values().collect())
            .unwrap_or_default();
        if !cidrs.is_empty() || !indexes.is_empty() {
            self.line(" Insecure Registries:");
        }
        for index in indexes {
            if index["Secure"] != Json::Bool(true) {
                let name = index["Name"].as_str().unwrap_or("");
                self.line(&format!("  {name}"));
            }
        }
        for cidr in cidrs {
            self.line(&format!("  {cidr}"));
        }
        self.block(" Registry Mirrors:", "/RegistryConfig/Mirrors");
        self.flag(" Live Restore Enabled:", "/LiveRestoreEnabled");
        self.filled(" Product License:", "/ProductLicense");
        let pools = self
            .get("/DefaultAddressPools")
            .as_array()
            .map(Vec::as_slice);
        let pools = pools.unwrap_or_default();
        if !pools.is_empty() {
            self.line(" Default Address Pools:");
        }
        for pool in pools {
            let base = pool["Base"].as_str().unwrap_or("");
            let size = &pool["Size"];
            self.line(&format!("   Base: {base}, Size: {size}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Json {
        json!({
            "ID": "x", "Containers": 1, "ContainersRunning": 1, "ContainersPaused": 0,
            "ContainersStopped": 0, "Images": 1, "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "extfs"]],
            "OSType": "linux", "Architecture": "x86_64", "ServerVersion": "28.2.2", "Name": "h",
            "IndexServerAddress": "https://index.docker.io/v1/", "MemTotal": 1_073_741_824,
            "Swarm": {"LocalNodeState": "inactive"}, "Runtimes": {"runc": {}},
            "DefaultRuntime": "runc", "SecurityOptions": ["name=seccomp,profile=builtin"],
            "Plugins": {}, "Warnings": ["WARNING: No swap limit support"],
            "RegistryConfig": {
                "IndexConfigs": {}, "InsecureRegistryCIDRs": ["127.0.0.0/8"], "Mirrors": null
            },
            "ClientInfo": {"Debug": false, "Version": "28.2.2", "Context": "default", "Plugins": []}
        })
    }

    // Compared with `docker info` 28.2.2 for the same answer of an engine.
    #[test]
    fn lines_print_as_docker_info() {
        let text = info_text(&document());
        assert_eq!(text.err, "WARNING: No swap limit support\n");
        let expected = "Client:
 Version:    28.2.2
 Context:    default
 Debug Mode: false

Server:
 Containers: 1
  Running: 1
  Paused: 0
  Stopped: 0
 Images: 1
 Server Version: 28.2.2
 Storage Driver: overlay2
  Backing Filesystem: extfs
 Plugins:
  Volume:\u{20}
  Network:\u{20}
  Log:\u{20}
 Swarm: inactive
 Runtimes: runc
 Default Runtime: runc
 Init Binary:\u{20}
 containerd version:\u{20}
 runc version:\u{20}
 init version:\u{20}
 Security Options:
  seccomp
   Profile: builtin
 OSType: linux
 Architecture: x86_64
 CPUs: 0
 Total Memory: 1GiB
 Name: h
 ID: x
 Docker Root Dir:\u{20}
 Debug Mode: false
 Experimental: false
 Insecure Registries:
  127.0.0.0/8
 Live Restore Enabled: false

";
        assert_eq!(text.out, expected);
    }

    #[test]
    fn formats_run_over_gos_types() {
        for (format, expected) in [
            ("{{.Runtimes.nvidia}}", Ok("<no value>\n")),
            (
                "{{.Driver}} {{.NCPU}} {{.ClientInfo.Context}}",
                Ok("overlay2 0 default\n"),
            ),
            ("{{json .Swarm.LocalNodeState}}", Ok("\"inactive\"\n")),
            ("{{range .DriverStatus}}{{index . 1}}{{end}}", Ok("extfs\n")),
            (
                "{{.Nope}}",
                Err("template: :1:2: executing \"\" at <.Nope>: can't \
                     evaluate field Nope in type system.dockerInfo"),
            ),
        ] {
            let answer = info_format(&document(), format).map_err(|error| error.to_string());
            assert_eq!(
                answer.as_deref().map_err(String::as_str),
                expected,
                "{format}"
            );
        }
        let json = info_format(&document(), "json").unwrap();
        assert!(
            json.starts_with(r#"{"ID":"x","Containers":1,"ContainersRunning":1,"#),
            "{json}"
        );
        assert!(
            json.trim_end()
                .ends_with(r#""Plugins":[],"Warnings":null}}"#),
            "{json}"
        );
    }
}
