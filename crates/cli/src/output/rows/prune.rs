//! What the `prune` commands ask and say.

use types::units::human_size;

use super::super::text::natural_order;

/// What `container prune` asks.
pub(crate) const CONTAINERS_QUESTION: &str = "WARNING! This will remove all stopped containers.
Are you sure you want to continue? [y/N] ";
/// What `image prune` asks.
pub(crate) const DANGLING_IMAGES_QUESTION: &str = "WARNING! This will remove all dangling images.
Are you sure you want to continue? [y/N] ";
/// What `image prune -a` asks.
pub(crate) const IMAGES_QUESTION: &str =
    "WARNING! This will remove all images without at least one container associated to them.
Are you sure you want to continue? [y/N] ";

/// What `network prune` asks.
pub(crate) const NETWORKS_QUESTION: &str =
    "WARNING! This will remove all custom networks not used by at least one container.
Are you sure you want to continue? [y/N] ";

/// What `volume prune` asks.
pub(crate) const ANONYMOUS_VOLUMES_QUESTION: &str =
    "WARNING! This will remove anonymous local volumes not used by at least one container.
Are you sure you want to continue? [y/N] ";
/// What `volume prune -a` asks.
pub(crate) const VOLUMES_QUESTION: &str =
    "WARNING! This will remove all local volumes not used by at least one container.
Are you sure you want to continue? [y/N] ";

/// What `system prune` is about to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemPrune {
    /// `-a`
    pub(crate) all: bool,
    /// `--volumes`
    pub(crate) volumes: bool,
    /// Filters as `key=value`, those of labels and `until`.
    pub(crate) filters: Vec<String>,
}

/// What `system prune` asks.
pub(crate) fn system_question(prune: &SystemPrune) -> String {
    let mut lines = vec![
        "all stopped containers",
        "all networks not used by at least one container",
    ];
    if prune.volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(if prune.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    lines.push(if prune.all {
        "all build cache"
    } else {
        "unused build cache"
    });
    let mut text = "WARNING! This will remove:".to_owned();
    for line in lines {
        text.push_str("\n  - ");
        text.push_str(line);
    }
    text.push('\n');
    if !prune.filters.is_empty() {
        let mut filters: Vec<&String> = prune.filters.iter().collect();
        filters.sort_by(|a, b| natural_order(a, b));
        text.push_str("\n  Items to be pruned will be filtered with:");
        for filter in filters {
            text.push_str("\n  - ");
            text.push_str(filter);
        }
        text.push('\n');
    }
    text + "\nAre you sure you want to continue? [y/N] "
}

/// How many of something: a number, and the words for one and for several.
pub(crate) struct Count(
    pub(crate) usize,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

/// A question with what would go, in front of its last line.
pub(crate) fn with_forecast(question: &str, counts: &[Count], bytes: u64) -> String {
    let (before, last) = match question.rsplit_once('\n') {
        Some((before, last)) => (before, last),
        None => ("", question),
    };
    let words: Vec<String> = counts
        .iter()
        .filter(|count| count.0 > 0)
        .map(|Count(number, one, several)| {
            format!("{number} {}", if *number == 1 { one } else { several })
        })
        .collect();
    let forecast = match words.is_empty() {
        true => "There is nothing to remove now.".to_owned(),
        false => format!(
            "That is {} and frees about {}.",
            words.join(", "),
            human_size(bytes as f64)
        ),
    };
    format!("{before}\n{forecast}\n{last}")
}

/// What was removed: a title (`Deleted Containers:`) and a line each; nothing when nothing was.
pub(crate) fn removed(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{title}\n{}\n\n", lines.join("\n"))
}

/// The last line of every prune.
pub(crate) fn reclaimed(bytes: u64) -> String {
    format!("Total reclaimed space: {}\n", human_size(bytes as f64))
}

/// The last line of a dry run.
pub(crate) fn reclaimable(bytes: u64) -> String {
    format!("Total reclaimable space: {}\n", human_size(bytes as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Texts of docker system prune and docker container prune 28.2.2.
    #[test]
    fn texts_are_dockers() {
        assert_eq!(
            system_question(&SystemPrune::default()),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at \
             least one container\n  - all dangling images\n  - unused build cache\n\nAre you sure \
             you want to continue? [y/N] "
        );
        let filtered = SystemPrune {
            all: true,
            volumes: true,
            filters: vec!["until=24h".to_owned(), "label=a".to_owned()],
        };
        assert_eq!(
            system_question(&filtered),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at \
             least one container\n  - all anonymous volumes not used by at least one container\n  - \
             all images without at least one container associated to them\n  - all build cache\n\n  \
             Items to be pruned will be filtered with:\n  - label=a\n  - until=24h\n\nAre you sure \
             you want to continue? [y/N] "
        );
        let counts = [
            Count(1, "image", "images"),
            Count(0, "x", "xs"),
            Count(2, "volume", "volumes"),
        ];
        assert_eq!(
            with_forecast(CONTAINERS_QUESTION, &counts, 2000),
            "WARNING! This will remove all stopped containers.\nThat is 1 image, 2 volumes and \
             frees about 2kB.\nAre you sure you want to continue? [y/N] "
        );
        let ids = ["aa".to_owned(), "bb".to_owned()];
        assert_eq!(
            removed("Deleted Containers:", &ids),
            "Deleted Containers:\naa\nbb\n\n"
        );
        assert_eq!(removed("Deleted Containers:", &[]), "");
        assert_eq!(reclaimed(1234), "Total reclaimed space: 1.234kB\n");
    }
}
