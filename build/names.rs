//! Names of the models as Rust spells them.

/// `containerDefinitions` and `DNSName` become `container_definitions` and `dns_name`.
pub fn snake(name: &str) -> String {
    // Acronyms that the models write in mixed case would fall apart into single letters.
    let name = name.replace("IPv", "Ipv").replace("IPs", "Ips").replace("ARNs", "Arns");
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, character) in characters.iter().enumerate() {
        let previous = at.checked_sub(1).map(|before| characters[before]);
        let next_is_lower = characters.get(at + 1).is_some_and(|next| next.is_ascii_lowercase());
        let begins_word = character.is_ascii_uppercase()
            && previous.is_some_and(|previous| !previous.is_ascii_uppercase() || next_is_lower);
        if begins_word && previous != Some('_') {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// The name of a static or a constant.
pub fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// The name of a field: keywords are written raw.
pub fn field(name: &str) -> String {
    const KEYWORDS: [&str; 14] =
        ["as", "async", "enum", "fn", "for", "if", "in", "loop", "match", "mod", "ref", "type", "use", "where"];
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
}
