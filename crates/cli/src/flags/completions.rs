//! Completion scripts for bash, zsh and fish.
//!
//! Commands and flags are written out from the tables; names of containers and images are asked
//! of `caisson` itself when the user presses Tab.

use std::fmt::Write as _;

use super::generate::visible;
use super::help::top_level;
use super::{Command, Flag, GLOBAL_FLAGS, GROUPS, Kind, Verb};

/// What the first positional argument of a command names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Nothing,
    File,
    AnyContainer,
    RunningContainer,
    Image,
    Network,
    Volume,
    /// What `undo` can bring back.
    Removed,
}

fn operand(verb: Verb) -> Operand {
    match verb {
        Verb::Attach
        | Verb::Exec
        | Verb::Kill
        | Verb::Pause
        | Verb::Port
        | Verb::Stats
        | Verb::Stop
        | Verb::Top => Operand::RunningContainer,
        Verb::Commit
        | Verb::ContainerInspect
        | Verb::Diff
        | Verb::Export
        | Verb::Inspect
        | Verb::Logs
        | Verb::Rename
        | Verb::Restart
        | Verb::Rm
        | Verb::Start
        | Verb::Unpause
        | Verb::Update
        | Verb::Wait => Operand::AnyContainer,
        Verb::Create
        | Verb::History
        | Verb::ImageDiff
        | Verb::ImageInspect
        | Verb::Images
        | Verb::Push
        | Verb::Rmi
        | Verb::Run
        | Verb::Save
        | Verb::Tag => Operand::Image,
        Verb::NetworkConnect | Verb::NetworkDisconnect | Verb::NetworkInspect | Verb::NetworkRm => {
            Operand::Network
        }
        Verb::VolumeClone
        | Verb::VolumeExport
        | Verb::VolumeInspect
        | Verb::VolumeRename
        | Verb::VolumeRestore
        | Verb::VolumeRm
        | Verb::VolumeSnapshot => Operand::Volume,
        Verb::Undo => Operand::Removed,
        Verb::Copy | Verb::Import | Verb::VolumeImport => Operand::File,
        _ => Operand::Nothing,
    }
}

const LIST_ALL: &str = "caisson ps -a --format '{{.Names}}' 2>/dev/null";
const LIST_RUNNING: &str = "caisson ps --format '{{.Names}}' 2>/dev/null";
const LIST_IMAGES: &str = "caisson images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null";

const LIST_NETWORKS: &str = "caisson network ls --format '{{.Name}}' 2>/dev/null";
const LIST_VOLUMES: &str = "caisson volume ls -q 2>/dev/null";
const LIST_REMOVED: &str = "caisson undo --list --format '{{.Name}}' 2>/dev/null";

/// The shell command that lists what may stand as the operand.
fn lister(operand: Operand) -> &'static str {
    match operand {
        Operand::Nothing | Operand::File => "",
        Operand::AnyContainer => LIST_ALL,
        Operand::RunningContainer => LIST_RUNNING,
        Operand::Image => LIST_IMAGES,
        Operand::Network => LIST_NETWORKS,
        Operand::Volume => LIST_VOLUMES,
        Operand::Removed => LIST_REMOVED,
    }
}

/// The shell command that lists what a flag's value may be; empty: files.
fn flag_lister(flag: &Flag) -> &'static str {
    match (flag.kind, flag.long) {
        (Kind::Network, _) => LIST_NETWORKS,
        (_, "volumes-from" | "link") => LIST_ALL,
        _ => "",
    }
}

/// All spellings of a command.
fn spellings(command: &Command) -> Vec<String> {
    let own = command.name();
    std::iter::once(own)
        .chain(command.aliases.iter().map(|alias| (*alias).to_owned()))
        .collect()
}

fn shown(flags: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().filter(|flag| !flag.hidden)
}

/// `--name -n …` of a table, with `--help`.
fn flag_words(flags: &'static [Flag]) -> String {
    let mut words = String::from("--help");
    for flag in shown(flags) {
        let _ = write!(words, " --{}", flag.long);
        if let Some(short) = flag.short {
            let _ = write!(words, " -{short}");
        }
    }
    words
}

/// The flags of a table that take a value, as a shell pattern.
fn value_pattern(flags: &'static [Flag]) -> String {
    let mut words = Vec::new();
    for flag in shown(flags).filter(|flag| flag.kind != Kind::Bool) {
        words.push(format!("--{}", flag.long));
        words.extend(flag.short.map(|short| format!("-{short}")));
    }
    if words.is_empty() {
        "''".to_owned()
    } else {
        words.join("|")
    }
}

/// The words that may stand first.
fn first_words() -> Vec<(&'static str, &'static str)> {
    let mut words: Vec<_> = top_level()
        .chain(GROUPS.iter().map(|group| (group.name, group.about)))
        .collect();
    words.sort_unstable();
    words
}

/// The second words of a group.
fn second_words(group: &str) -> Vec<&'static str> {
    let mut words: Vec<&str> = visible()
        .into_iter()
        .filter_map(|command| match command.path {
            [first, word] if *first == group => Some(*word),
            _ => None,
        })
        .collect();
    words.sort_unstable();
    words
}

fn group_pattern() -> String {
    GROUPS
        .iter()
        .map(|group| group.name)
        .collect::<Vec<_>>()
        .join("|")
}

/// The script for bash.
pub(super) fn bash() -> String {
    let mut script = String::from("# bash completion for caisson; generated, do not edit\n");
    let _ = write!(
        script,
        "_caisson() {{\n\
         \x20   local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \x20   local index command='' group='' flags='{flags}' values='' list='' named=''\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((index = 1; index < COMP_CWORD; index++)); do\n\
         \x20       case ${{COMP_WORDS[index]}} in\n\
         \x20           {value_flags}) [[ -z $command ]] && ((index++)) ;;\n\
         \x20           -*) ;;\n\
         \x20           {groups}) [[ -z $command$group ]] && group=${{COMP_WORDS[index]}} ;;\n\
         \x20           *) [[ -z $command ]] && command=\"${{group:+$group }}${{COMP_WORDS[index]}}\" ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   if [[ -z $command ]]; then\n\
         \x20       case $group in\n",
        flags = flag_words(GLOBAL_FLAGS),
        value_flags = value_pattern(GLOBAL_FLAGS),
        groups = group_pattern(),
    );
    for group in GROUPS {
        let words = second_words(group.name).join(" ");
        let _ = writeln!(script, "            {}) list='{words}' ;;", group.name);
    }
    let words: Vec<_> = first_words().iter().map(|row| row.0).collect();
    let _ = write!(
        script,
        "            *) list='{}' ;;\n        esac\n\
         \x20       [[ $current == -* ]] && list=$flags\n\
         \x20       COMPREPLY=($(compgen -W \"$list\" -- \"$current\"))\n        return\n    fi\n\
         \x20   case $command in\n",
        words.join(" ")
    );
    for command in visible() {
        let pattern: Vec<_> = spellings(command)
            .iter()
            .map(|spelling| format!("'{spelling}'"))
            .collect();
        let _ = write!(
            script,
            "        {})\n            flags='{}'\n            values='{}'\n            list=\"{}\"{} ;;\n",
            pattern.join("|"),
            flag_words(command.flags),
            value_pattern(command.flags)
                .replace('|', " ")
                .replace('\'', ""),
            lister(operand(command.verb)),
            bash_flag_lists(command.flags)
        );
    }
    script.push_str(
        "        *) return ;;\n    esac\n\
         \x20   if [[ $current == -* ]]; then\n\
         \x20       COMPREPLY=($(compgen -W \"$flags\" -- \"$current\"))\n\
         \x20   elif [[ -n $named ]]; then\n\
         \x20       COMPREPLY=($(compgen -W \"$(eval \"$named\")\" -- \"$current\"))\n\
         \x20   elif [[ \" $values \" == *\" $previous \"* || -z $list ]]; then\n\
         \x20       COMPREPLY=($(compgen -f -- \"$current\"))\n\
         \x20   else\n\
         \x20       COMPREPLY=($(compgen -W \"$(eval \"$list\")\" -- \"$current\"))\n\
         \x20   fi\n}\n\
         complete -o default -F _caisson caisson\n",
    );
    script
}

/// A case of the flag before the cursor, where its values are names.
fn bash_flag_lists(flags: &'static [Flag]) -> String {
    let mut cases = String::new();
    for flag in shown(flags).filter(|flag| !flag_lister(flag).is_empty()) {
        let _ = write!(
            cases,
            " --{}) named=\"{}\" ;;",
            flag.long,
            flag_lister(flag)
        );
    }
    match cases.is_empty() {
        true => cases,
        false => format!("\n            case $previous in{cases} esac"),
    }
}

/// A text within single quotes of a shell, without what zsh's `_arguments` would read as syntax.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''")
        .replace('[', "(")
        .replace(']', ")")
        .replace(':', " -")
}

fn zsh_flags(script: &mut String, flags: &'static [Flag], indent: &str) {
    for flag in shown(flags) {
        let repeat = if flag.kind.is_repeatable() { "*" } else { "" };
        let value = match flag.kind {
            Kind::Bool => String::new(),
            kind if !flag_lister(flag).is_empty() => {
                let action = format!("_caisson_names \"{}\"", flag_lister(flag));
                format!(":{}:{}", kind.word(), zsh_action(&action))
            }
            kind => format!(":{}:_files", kind.word()),
        };
        let equals = if value.is_empty() { "" } else { "=" };
        let help = zsh_text(flag.help);
        let _ = write!(
            script,
            " \\\n{indent}'{repeat}--{}{equals}[{help}]{value}'",
            flag.long
        );
        if let Some(short) = flag.short {
            let plus = if value.is_empty() { "" } else { "+" };
            let _ = write!(
                script,
                " \\\n{indent}'{repeat}-{short}{plus}[{help}]{value}'"
            );
        }
    }
}

/// The script for zsh.
pub(super) fn zsh() -> String {
    let mut script = String::from(
        "#compdef caisson\n# zsh completion for caisson; generated, do not edit\n\
         _caisson_names() { local -a names; names=(${(f)\"$(eval \"${@[-1]}\")\"}); compadd -a names }\n\
         _caisson() {\n    local curcontext=$curcontext state line command\n    _arguments -C",
    );
    zsh_flags(&mut script, GLOBAL_FLAGS, "        ");
    script.push_str(
        " \\\n        '1:command:->command' '*:::argument:->argument'\n    case $state in\n\
         \x20   command)\n        local -a commands\n        commands=(\n",
    );
    for (word, about) in first_words() {
        let _ = writeln!(script, "            '{word}:{}'", zsh_text(about));
    }
    let _ = write!(
        script,
        "        )\n        _describe command commands ;;\n    argument)\n\
         \x20       command=$line[1]\n        if [[ $command == ({}) ]]; then\n\
         \x20           if (( CURRENT == 1 )); then\n                case $command in\n",
        group_pattern()
    );
    for group in GROUPS {
        let words = second_words(group.name).join(" ");
        let _ = writeln!(script, "                {}) compadd {words} ;;", group.name);
    }
    script.push_str(
        "                esac\n                return\n            fi\n\
         \x20           command=\"$command $words[1]\"\n        else\n\
         \x20           words=(\"$command\" \"${(@)words}\")\n            (( CURRENT++ ))\n        fi\n\
         \x20       case $command in\n",
    );
    for command in visible() {
        let pattern: Vec<_> = spellings(command)
            .iter()
            .map(|spelling| spelling.replace(' ', "\\ "))
            .collect();
        let _ = write!(
            script,
            "        {})\n            _arguments -s",
            pattern.join("|")
        );
        zsh_flags(&mut script, command.flags, "                ");
        let operand = operand(command.verb);
        let action = match operand {
            Operand::Nothing | Operand::File => "_files".to_owned(),
            named => format!("_caisson_names \"{}\"", lister(named)),
        };
        let _ = writeln!(
            script,
            " \\\n                '*:argument:{}' ;;",
            zsh_action(&action)
        );
    }
    script.push_str("        esac ;;\n    esac\n}\ncompdef _caisson caisson\n");
    script
}

/// An action within a single-quoted specification: colons and quotes escaped.
fn zsh_action(action: &str) -> String {
    action.replace(':', "\\:").replace('\'', "'\\''")
}

/// The script for fish.
pub(super) fn fish() -> String {
    let mut script = String::from(
        "# fish completion for caisson; generated, do not edit\n\
         function __caisson_command\n\
         \x20   set -l words\n\
         \x20   for word in (commandline -opc)[2..]\n\
         \x20       string match -q -- '-*' $word; or set -a words $word\n    end\n\
         \x20   set -l typed (string join ' ' $words)\n\
         \x20   for command in $argv\n\
         \x20       if test \"$typed\" = \"$command\"; or string match -q -- \"$command *\" $typed\n\
         \x20           return 0\n        end\n    end\n    return 1\nend\n\
         function __caisson_words\n\
         \x20   set -l typed (string join ' ' (string match -v -- '-*' (commandline -opc)[2..]))\n\
         \x20   test \"$typed\" = \"$argv\"\n\
         end\ncomplete -c caisson -f\n",
    );
    for (word, about) in first_words() {
        let _ = writeln!(
            script,
            "complete -c caisson -n '__caisson_words' -a {word} -d {}",
            fish_text(about)
        );
    }
    for group in GROUPS {
        for word in second_words(group.name) {
            let _ = writeln!(
                script,
                "complete -c caisson -n '__caisson_words {}' -a {word}",
                group.name
            );
        }
    }
    for flag in shown(GLOBAL_FLAGS) {
        fish_flag(&mut script, "__caisson_words", flag);
    }
    for command in visible() {
        let names: Vec<_> = spellings(command)
            .iter()
            .map(|spelling| format!("\"{spelling}\""))
            .collect();
        let condition = format!("__caisson_command {}", names.join(" "));
        for flag in shown(command.flags) {
            fish_flag(&mut script, &condition, flag);
        }
        match operand(command.verb) {
            Operand::Nothing => {}
            Operand::File => {
                let _ = writeln!(script, "complete -c caisson -n '{condition}' -F");
            }
            named => {
                let list = lister(named);
                let _ = writeln!(
                    script,
                    "complete -c caisson -n '{condition}' -a {}",
                    fish_text(&format!("({list})"))
                );
            }
        }
    }
    script
}

fn fish_flag(script: &mut String, condition: &str, flag: &Flag) {
    let short = flag
        .short
        .map(|short| format!(" -s {short}"))
        .unwrap_or_default();
    let value = match (flag.kind, flag_lister(flag)) {
        (Kind::Bool, _) => String::new(),
        (_, "") => " -r -F".to_owned(),
        (_, list) => format!(" -x -a {}", fish_text(&format!("({list})"))),
    };
    let _ = writeln!(
        script,
        "complete -c caisson -n '{condition}' -l {}{short}{value} -d {}",
        flag.long,
        fish_text(flag.help)
    );
}

/// A single-quoted word of fish.
fn fish_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
