//! What the pages say, in English and French.

/// Declares a struct of texts and its two values, so that neither language can lack one.
macro_rules! words {
    ($($name:ident: $english:literal, $french:literal;)*) => {
        /// All texts of one language.
        #[derive(Debug)]
        pub(crate) struct Words {
            /// Its code, for the page's `lang`.
            pub(crate) lang: &'static str,
            $(pub(crate) $name: &'static str,)*
        }

        pub(crate) static ENGLISH: Words = Words { lang: "en", $($name: $english,)* };
        pub(crate) static FRENCH: Words = Words { lang: "fr", $($name: $french,)* };
    };
}

words! {
    skip: "Skip to the content", "Aller au contenu";
    search: "Search", "Rechercher";
    search_label: "Search repositories", "Rechercher des dépôts";
    sign_in: "Sign in", "Se connecter";
    sign_up: "Sign up", "Créer un compte";
    sign_out: "Sign out", "Se déconnecter";
    account: "Account", "Compte";
    admin: "Administration", "Administration";
    repositories: "Repositories", "Dépôts";
    your_repositories: "Your repositories", "Vos dépôts";
    no_repositories: "No repository yet.", "Aucun dépôt pour l’instant.";
    create_repository: "Create repository", "Créer un dépôt";
    nothing_found: "Nothing found.", "Aucun résultat.";
    found: "found", "trouvés";
    previous: "Previous", "Précédents";
    next: "Next", "Suivants";
    welcome: "Share images with your team", "Partagez des images avec votre équipe";
    welcome_text: "Create a repository, push an image, and others search for it and pull it.", "Créez un dépôt, poussez une image, et les autres la trouvent et la récupèrent.";
    first_user: "Nobody has signed up yet. The first user becomes the administrator.", "Personne ne s’est encore inscrit. Le premier utilisateur devient l’administrateur.";
    user_name: "User name", "Nom d’utilisateur";
    user_name_help: "2 to 39 lower-case letters, digits, and single dots, dashes or underscores between them", "De 2 à 39 lettres minuscules et chiffres, séparés si besoin par un point, un tiret ou un souligné";
    password: "Password", "Mot de passe";
    password_help: "At least 8 characters", "Au moins 8 caractères";
    new_password: "New password", "Nouveau mot de passe";
    change_password: "Change the password", "Changer le mot de passe";
    have_account: "You have an account already?", "Vous avez déjà un compte ?";
    no_account: "You have no account yet?", "Vous n’avez pas encore de compte ?";
    wrong_credentials: "The user name or the password is wrong.", "Le nom d’utilisateur ou le mot de passe est incorrect.";
    too_many: "Too many wrong passwords. Wait a few minutes.", "Trop de mots de passe incorrects. Attendez quelques minutes.";
    bad_user_name: "This user name is not allowed.", "Ce nom d’utilisateur n’est pas permis.";
    bad_password: "The password must have 8 to 256 characters.", "Le mot de passe doit avoir de 8 à 256 caractères.";
    user_taken: "This user name is taken.", "Ce nom d’utilisateur est déjà pris.";
    sign_up_closed: "Signing up is closed here. Ask the administrator.", "Les inscriptions sont closes. Demandez à l’administrateur.";
    name: "Name", "Nom";
    name_help: "Lower-case letters and digits, with dots, dashes or underscores between them", "Lettres minuscules et chiffres, séparés par des points, tirets ou soulignés";
    description: "Description", "Description";
    description_help: "One line, at most 100 characters", "Une ligne, 100 caractères au plus";
    visibility: "Visibility", "Visibilité";
    public: "Public", "Public";
    public_help: "Everybody may search and pull it", "Tout le monde peut le trouver et le récupérer";
    private: "Private", "Privé";
    private_help: "Only members see it", "Seuls les membres le voient";
    bad_name: "This name is not allowed.", "Ce nom n’est pas permis.";
    bad_description: "The description is too long.", "La description est trop longue.";
    name_taken: "There is such a repository already.", "Ce dépôt existe déjà.";
    create: "Create", "Créer";
    pull_command: "Pull", "Récupérer";
    push_commands: "Push an image", "Pousser une image";
    copy: "Copy", "Copier";
    copied: "Copied", "Copié";
    tags: "Tags", "Étiquettes";
    no_tags: "No tag yet. Push an image with the commands above.", "Aucune étiquette. Poussez une image avec les commandes ci-dessus.";
    tag: "Tag", "Étiquette";
    digest: "Digest", "Empreinte";
    size: "Size", "Taille";
    platform: "Platform", "Plateforme";
    pushed: "Pushed", "Poussé";
    pulled: "Last pulled", "Récupéré";
    by: "by", "par";
    layers: "Layers", "Couches";
    instruction: "Instruction", "Instruction";
    command: "Command", "Commande";
    entrypoint: "Entrypoint", "Point d’entrée";
    environment: "Environment", "Environnement";
    ports: "Ports", "Ports";
    attestations: "Attestations", "Attestations";
    working_directory: "Working directory", "Répertoire de travail";
    volumes: "Volumes", "Volumes";
    user: "User", "Utilisateur";
    pulls: "pulls", "récupérations";
    updated: "updated", "mis à jour";
    settings: "Settings", "Réglages";
    readme: "Description page (Markdown)", "Page de présentation (Markdown)";
    save: "Save", "Enregistrer";
    saved: "Saved.", "Enregistré.";
    members: "Members", "Membres";
    no_members: "Nobody but the owner.", "Personne d’autre que le propriétaire.";
    role: "Role", "Rôle";
    role_read: "Read", "Lecture";
    role_write: "Read and push", "Lecture et envoi";
    role_admin: "Everything", "Tout";
    add: "Add", "Ajouter";
    remove: "Remove", "Retirer";
    no_such_user: "There is no such user.", "Cet utilisateur n’existe pas.";
    delete: "Delete", "Supprimer";
    delete_repository: "Delete the repository", "Supprimer le dépôt";
    delete_tag: "Delete the tag", "Supprimer l’étiquette";
    delete_warning: "This cannot be undone. All tags and images in it go.", "C’est irréversible. Toutes ses étiquettes et images disparaissent.";
    delete_tag_warning: "This cannot be undone.", "C’est irréversible.";
    type_name: "Type the name to confirm", "Tapez le nom pour confirmer";
    name_differs: "The name is not the same.", "Le nom n’est pas le même.";
    cancel: "Cancel", "Annuler";
    tokens: "Access tokens", "Jetons d’accès";
    tokens_text: "A token is a password for one program: it can do less, and ends by itself or when you remove it.", "Un jeton est un mot de passe pour un seul programme : il peut moins, et prend fin de lui-même ou quand vous le retirez.";
    no_tokens: "No token.", "Aucun jeton.";
    create_token: "Create a token", "Créer un jeton";
    token_for: "What it is for", "Son usage";
    created: "Created", "Créé";
    in_days: "in", "dans";
    expires: "Expires", "Expire";
    never: "never", "jamais";
    days: "days", "jours";
    hours: "hours", "heures";
    last_used: "Last used", "Dernier usage";
    new_token: "Your new token. It is shown only once.", "Votre nouveau jeton. Il n’est montré qu’une fois.";
    storage_use: "Storage", "Stockage";
    blobs: "Blobs", "Blobs";
    marked: "of these about to be removed", "dont bientôt supprimés";
    users: "Users", "Utilisateurs";
    collect: "Collect garbage now", "Collecter maintenant";
    collect_text: "Blobs that no image needs are removed by themselves, after a grace. Pushes may go on meanwhile.", "Les blobs dont aucune image n’a besoin sont supprimés d’eux-mêmes après un délai. On peut pousser pendant ce temps.";
    collected: "Collected:", "Collecté :";
    blobs_removed: "blobs removed,", "blobs supprimés,";
    blobs_marked: "more go after the grace.", "autres le seront après le délai.";
    stars: "stars", "étoiles";
    give_star: "Give a star", "Donner une étoile";
    take_star: "Take the star back", "Reprendre l’étoile";
    owner: "Owner", "Propriétaire";
    organisation: "Organisation", "Organisation";
    your_organisations: "Your organisations", "Vos organisations";
    create_organisation: "Create organisation", "Créer une organisation";
    organisation_text: "Repositories under an organisation’s name belong to all its members, each with a role.", "Les dépôts au nom d’une organisation appartiennent à tous ses membres, chacun avec un rôle.";
    delete_organisation: "Delete the organisation", "Supprimer l’organisation";
    organisation_not_empty: "There are repositories in it. Delete them first.", "Elle contient des dépôts. Supprimez-les d’abord.";
    last_admin: "Somebody must be left who may do everything.", "Il faut que quelqu’un garde tous les droits.";
    name_taken_other: "This name is taken.", "Ce nom est déjà pris.";
    webhooks: "Webhooks", "Webhooks";
    webhooks_text: "Each push is told to these addresses, signed with the webhook’s secret.", "Chaque envoi est annoncé à ces adresses, signé avec le secret du webhook.";
    webhook_secret: "The secret that signs its messages. It is shown only once.", "Le secret qui signe ses messages. Il n’est montré qu’une fois.";
    bad_webhook: "This address is not of the form https://ci.example.org/hook, or there are too many.", "Cette adresse n’est pas de la forme https://ci.example.org/hook, ou il y en a trop.";
    address: "Address", "Adresse";
    last_delivery: "Last delivery", "Dernier envoi";
    audit: "Who did what", "Qui a fait quoi";
    audit_label: "Search by user, name or action", "Rechercher par utilisateur, nom ou action";
    when: "When", "Quand";
    who: "Who", "Qui";
    what: "What", "Quoi";
    detail: "Detail", "Détail";
    not_found: "Not found", "Introuvable";
    not_found_text: "There is nothing here, or nothing that you may see.", "Il n’y a rien ici, ou rien que vous puissiez voir.";
    denied: "Not allowed", "Refusé";
    denied_text: "You may not do this.", "Vous n’avez pas le droit de faire cela.";
    form_expired: "This form is too old. Go back, reload the page and try again.", "Ce formulaire est périmé. Revenez en arrière, rechargez la page et réessayez.";
    trouble: "Something went wrong", "Une erreur est survenue";
    trouble_text: "The registry could not do this. Its log says why.", "Le registre n’a pas pu le faire. Son journal dit pourquoi.";
    now: "just now", "à l’instant";
    minutes_ago: "minutes ago", "minutes";
    hours_ago: "hours ago", "heures";
    days_ago: "days ago", "jours";
}

impl Words {
    /// How long ago something was. By reference, as templates hand values over.
    pub(crate) fn age(&self, then: &i64) -> String {
        let elapsed = (crate::server::database::now() - then).max(0);
        let (count, unit) = match elapsed {
            0..60 => return self.now.to_owned(),
            60..3600 => (elapsed / 60, self.minutes_ago),
            3600..86_400 => (elapsed / 3600, self.hours_ago),
            _ => (elapsed / 86_400, self.days_ago),
        };
        let text = self.counted(&count, unit);
        match self.lang {
            "fr" => format!("il y a {text}"),
            _ => text,
        }
    }

    /// A number of things, whose name is given in the plural: its first word ends with an s, if it has
    /// one.
    pub(crate) fn counted(&self, count: &i64, things: &str) -> String {
        // In French, nought is singular too.
        let is_singular = *count == 1 || (*count == 0 && self.lang == "fr");
        let end = things.find(' ').unwrap_or(things.len());
        let (first, rest) = things.split_at(end);
        match first.strip_suffix('s').filter(|_| is_singular) {
            Some(one) => format!("{count} {one}{rest}"),
            None => format!("{count} {things}"),
        }
    }

    /// When something ends.
    pub(crate) fn expiry(&self, then: &Option<i64>) -> String {
        let Some(then) = then else {
            return self.never.to_owned();
        };
        let left = (then - crate::server::database::now()).max(0);
        let text = match left {
            0..86_400 => self.counted(&(left / 3600 + 1), self.hours),
            _ => self.counted(&((left + 43_200) / 86_400), self.days),
        };
        format!("{} {text}", self.in_days)
    }

    /// A role.
    pub(crate) fn role_name(&self, role: &str) -> &'static str {
        match role {
            "admin" => self.role_admin,
            "write" => self.role_write,
            _ => self.role_read,
        }
    }
}

/// Bytes for people, in powers of a thousand as Docker shows them.
pub(crate) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// The language that a browser asks for first, of those that we have (RFC 9110, section 12.5.4).
pub(crate) fn choose(accept_language: &str) -> &'static Words {
    let mut best = (0.0, &ENGLISH);
    for part in accept_language.split(',').take(32) {
        let mut pieces = part.split(';');
        let language = pieces.next().unwrap_or_default().trim();
        let quality = pieces.find_map(|piece| piece.trim().strip_prefix("q="));
        let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok());
        let known = match language.split('-').next() {
            Some("en") => &ENGLISH,
            Some("fr") => &FRENCH,
            _ => continue,
        };
        if quality.is_some_and(|quality| quality > best.0) {
            best = (quality.unwrap_or_default(), known);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_first_that_we_know() {
        for (header, lang) in [
            ("", "en"),
            ("fr", "fr"),
            ("fr-CA,en;q=0.8", "fr"),
            ("en;q=0.5, fr;q=0.7", "fr"),
            ("de, fr;q=0.3, en;q=0.2", "fr"),
            ("de", "en"),
            ("fr;q=x", "en"),
            ("en, fr", "en"),
        ] {
            assert_eq!(choose(header).lang, lang, "{header}");
        }
    }

    #[test]
    fn one_thing_is_in_the_singular() {
        for (words, count, things, text) in [
            (&ENGLISH, 1, ENGLISH.pulls, "1 pull"),
            (&ENGLISH, 0, ENGLISH.pulls, "0 pulls"),
            (&ENGLISH, 1, ENGLISH.minutes_ago, "1 minute ago"),
            (&ENGLISH, 1, ENGLISH.found, "1 found"),
            (&FRENCH, 0, FRENCH.pulls, "0 récupération"),
            (&FRENCH, 2, FRENCH.stars, "2 étoiles"),
        ] {
            assert_eq!(words.counted(&count, things), text);
        }
        let now = crate::server::database::now();
        for (left, text) in [
            (30 * 86_400, "in 30 days"),
            (86_400, "in 1 day"),
            (3600 * 5, "in 6 hours"),
            (10, "in 1 hour"),
        ] {
            // A second may go by meanwhile.
            let shown = ENGLISH.expiry(&Some(now + left + 1));
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (123_456, "123 kB"),
            (52_000_000, "52.0 MB"),
            (1_500_000_000, "1.5 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
