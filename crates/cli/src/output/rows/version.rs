//! `version`: the blocks of client and server, or a template over both.

use serde_json::Value as Json;

use super::super::table::{FormatError, align};
use super::super::template::{FunctionSet, Options, Template};
use super::super::typed::others::VERSION;
use super::super::typed::typed;

const BLOCKS: &str = r#"{{with .Client -}}
Client:{{if ne .Platform nil}}{{if ne .Platform.Name ""}} {{.Platform.Name}}{{end}}{{end}}
 Version:	{{.Version}}
 API version:	{{.APIVersion}}{{if ne .APIVersion .DefaultAPIVersion}} (downgraded from {{.DefaultAPIVersion}}){{end}}
 Go version:	{{.GoVersion}}
 Git commit:	{{.GitCommit}}
 Built:	{{.BuildTime}}
 OS/Arch:	{{.Os}}/{{.Arch}}
 Context:	{{.Context}}
{{- end}}
{{- if ne .Server nil}}{{with .Server}}

Server:{{if ne .Platform.Name ""}} {{.Platform.Name}}{{end}}
{{- range $component := .Components}}
 {{.Name}}:
{{- if eq .Name "Engine"}}
  Version:	{{.Version}}
  API version:	{{index .Details "ApiVersion"}} (minimum version {{index .Details "MinAPIVersion"}})
  Go version:	{{index .Details "GoVersion"}}
  Git commit:	{{index .Details "GitCommit"}}
  Built:	{{index .Details "BuildTime"}}
  OS/Arch:	{{index .Details "Os"}}/{{index .Details "Arch"}}
  Experimental:	{{index .Details "Experimental"}}
{{- else}}
  Version:	{{.Version}}
{{- range getDetailsOrder .}}
  {{.}}:	{{index $component.Details .}}
{{- end}}
{{- end}}
{{- end}}
{{- end}}{{- end}}"#;

/// The text of `version` over a document with Docker's members `Client` and `Server`
/// (`Client.Version`, `Server.Components[].Details` …). Lines whose value is empty are Docker's
/// too. A parse error exits with 64.
pub(crate) fn version(document: &Json, format: &str) -> Result<String, FormatError> {
    let text = match format {
        "" => BLOCKS,
        "json" => "{{json .}}",
        text => text,
    };
    let template =
        Template::parse_named("version", text, FunctionSet::Version).map_err(FormatError::Parse)?;
    let options = Options {
        functions: FunctionSet::Version,
        ..Options::default()
    };
    let out = template
        .execute(&typed(&VERSION, document), options)
        .map_err(FormatError::ExecutePlain)?;
    Ok(align(&(out + "\n"), 20, 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Compared with `docker version` 28.2.2 for the same answers of an engine.
    #[test]
    fn blocks_print_as_docker_version() {
        let document = json!({
            "Client": {
                "Version": "28.2.2", "ApiVersion": "1.50", "DefaultAPIVersion": "1.50",
                "GitCommit": "e6534b4", "GoVersion": "go1.24.3", "Os": "linux", "Arch": "amd64",
                "BuildTime": "Fri May 30 12:07:14 2025", "Context": "default"
            },
            "Server": {
                "Platform": {"Name": "x"},
                "Components": [
                    {"Name": "Engine", "Version": "28.2.2", "Details": {
                        "ApiVersion": "1.50", "Arch": "amd64", "BuildTime": "x",
                        "Experimental": "false", "GitCommit": "x", "GoVersion": "go",
                        "KernelVersion": "x", "MinAPIVersion": "1.24", "Os": "linux"
                    }},
                    {"Name": "runc", "Version": "1.2", "Details": {"GitCommit": "abc"}}
                ],
                "Version": "28.2.2", "ApiVersion": "1.50", "MinAPIVersion": "1.24",
                "GitCommit": "x", "GoVersion": "go", "Os": "linux", "Arch": "amd64",
                "KernelVersion": "6", "BuildTime": "x"
            }
        });
        assert_eq!(
            version(&document, "").unwrap(),
            "Client:\n \
             Version:           28.2.2\n \
             API version:       1.50\n \
             Go version:        go1.24.3\n \
             Git commit:        e6534b4\n \
             Built:             Fri May 30 12:07:14 2025\n \
             OS/Arch:           linux/amd64\n \
             Context:           default\n\n\
             Server: x\n \
             Engine:\n  \
             Version:          28.2.2\n  \
             API version:      1.50 (minimum version 1.24)\n  \
             Go version:       go\n  \
             Git commit:       x\n  \
             Built:            x\n  \
             OS/Arch:          linux/amd64\n  \
             Experimental:     false\n \
             runc:\n  \
             Version:          1.2\n  \
             GitCommit:        abc\n"
        );
        let json = version(&document, "json").unwrap();
        assert!(
            json.starts_with(r#"{"Client":{"Version":"28.2.2","ApiVersion":"1.50","DefaultAPI"#)
        );
        assert_eq!(
            version(&document, "{{.Server.APIVersion}}").unwrap(),
            "1.50\n"
        );
        assert_eq!(
            version(&document, "{{.Nope}}").unwrap_err().to_string(),
            "template: version:1:2: executing \"version\" at <.Nope>: can't evaluate field Nope in \
             type system.versionInfo"
        );
        let client = json!({"Client": {"Version": "1", "Context": "default"}});
        assert!(
            version(&client, "")
                .unwrap()
                .ends_with("Context:           default\n")
        );
    }
}
