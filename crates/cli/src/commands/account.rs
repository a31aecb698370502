//! `login` and `logout`: accounts at registries.

use std::io::{BufRead, Read, Write};
use std::process::ExitCode;

use engine::Engine;
use registry::docker_config::{self, DockerConfig, Kept};
use registry::{Account, RegistryError};
use types::reference::DEFAULT_DOMAIN;

use super::{fail_text, print_line};
use crate::errors;
use crate::flags::{Invocation, Verb};
use crate::terminal;

/// A password or token longer than that is none.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What people call a registry, as references name it.
fn domain(server: Option<&String>) -> String {
    let Some(server) = server.filter(|server| !server.is_empty()) else {
        return DEFAULT_DOMAIN.to_owned();
    };
    let rest = server
        .split_once("://")
        .map_or(server.as_str(), |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN.to_owned(),
        host => host.to_owned(),
    }
}

/// `login`, or `logout`.
pub(crate) fn account(engine: &Engine, invocation: &Invocation) -> ExitCode {
    if invocation.command.verb == Verb::Login {
        login(engine, invocation)
    } else {
        logout(invocation)
    }
}

fn fail(invocation: &Invocation, error: &RegistryError) -> ExitCode {
    fail_text(invocation, &errors::chain(error))
}

fn load(invocation: &Invocation) -> Result<(DockerConfig, String), ExitCode> {
    let Some(path) = docker_config::path() else {
        let text = "neither HOME nor DOCKER_CONFIG says where accounts are kept";
        return Err(fail_text(invocation, text));
    };
    let config = DockerConfig::load(&path).map_err(|error| fail(invocation, &error))?;
    Ok((config, path.display().to_string()))
}

/// An account, and whether it was kept before.
struct Given {
    account: Account,
    is_known: bool,
}

fn login(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let domain = domain(invocation.matches.args.first());
    let (mut config, path) = match load(invocation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let known = config.credentials().get(&domain);
    let given = match ask(invocation, &domain, known) {
        Ok(given) => given,
        Err(text) => {
            errors::complain(&text);
            return ExitCode::from(1);
        }
    };
    let client = engine.images().client();
    let account = match client.login(&domain, &given.account) {
        Ok(account) => account,
        Err(error) => return fail(invocation, &error),
    };
    if !given.is_known {
        match config.insert(&domain, &account) {
            Ok(Kept::Helper(_)) => {}
            Ok(Kept::File) => errors::complain(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{path}'.\n\
                 Configure a credential helper to remove this warning. See\n\
                 https://docs.docker.com/go/credential-store/\n"
            )),
            Err(error) => return fail(invocation, &error),
        }
    }
    print_line("Login Succeeded");
    ExitCode::SUCCESS
}

/// The account of the flags, of the file, or of whoever sits at the terminal.
fn ask(invocation: &Invocation, domain: &str, known: Option<Account>) -> Result<Given, String> {
    let matches = &invocation.matches;
    let (user, password) = (matches.get_str("username"), matches.get_str("password"));
    let from_stdin = matches.get_bool("password-stdin");
    if !password.is_empty() {
        errors::complain(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
        );
        if from_stdin {
            return Err("--password and --password-stdin are mutually exclusive".to_owned());
        }
    }
    let new = |user: &str, password: String| Given {
        account: Account::new(user, password),
        is_known: false,
    };
    if from_stdin {
        if user.is_empty() {
            return Err("Must provide --username with --password-stdin".to_owned());
        }
        let mut text = String::new();
        let read = std::io::stdin()
            .take(SECRET_BYTES_MAX)
            .read_to_string(&mut text);
        read.map_err(|error| format!("cannot read the password: {error}"))?;
        let password = text.trim_end_matches(['\r', '\n']);
        return not_empty(password).map(|password| new(user, password));
    }
    if !user.is_empty() && !password.is_empty() {
        return Ok(new(user, password.to_owned()));
    }
    if let Some(account) = known
        .as_ref()
        .filter(|_| user.is_empty() && password.is_empty())
    {
        print_line(&format!(
            "Authenticating with existing credentials... [Username: {}]\n",
            account.user()
        ));
        return Ok(Given {
            account: account.clone(),
            is_known: true,
        });
    }
    if !terminal::is_terminal(rustix::stdio::stdin()) {
        return Err("Error: Cannot perform an interactive login from a non TTY device".to_owned());
    }
    let user = if user.is_empty() {
        say(&format!("Username for {domain}: "));
        line()?
    } else {
        user.to_owned()
    };
    if user.is_empty() {
        return Err("Error: Non-null Username Required".to_owned());
    }
    if !password.is_empty() {
        return Ok(new(&user, password.to_owned()));
    }
    say("Password: ");
    let password = {
        let _hidden = terminal::Mode::hidden();
        line()?
    };
    say("\n");
    not_empty(&password).map(|password| new(&user, password))
}

fn not_empty(password: &str) -> Result<String, String> {
    match password {
        "" => Err("Error: Password Required".to_owned()),
        password => Ok(password.to_owned()),
    }
}

fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
}

fn line() -> Result<String, String> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(SECRET_BYTES_MAX)
        .read_line(&mut text);
    read.map_err(|error| format!("cannot read from the terminal: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn logout(invocation: &Invocation) -> ExitCode {
    let domain = domain(invocation.matches.args.first());
    let (mut config, _) = match load(invocation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match config.remove(&domain) {
        // As Docker says it, whether there were any or not.
        Ok(_) => print_line(&format!(
            "Removing login credentials for {}",
            docker_config::server_key(&domain)
        )),
        Err(error) => return fail(invocation, &error),
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn a_server_has_many_names() {
        let of = |text: &str| domain(Some(&text.to_owned()));
        assert_eq!(domain(None), "docker.io");
        for hub in [
            "",
            "docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
        ] {
            assert_eq!(of(hub), "docker.io");
        }
        assert_eq!(of("http://r.lan:5000/v2/"), "r.lan:5000");
        assert_eq!(of("r.lan"), "r.lan");
    }
}
