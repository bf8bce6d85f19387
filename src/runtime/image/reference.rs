//! Image references as definitions write them: `[REGISTRY/]PATH[:TAG][@DIGEST]`.
//!
//! `nginx`, `nginx:1.27-alpine`, `docker.io/library/nginx` and `public.ecr.aws/nginx/nginx` are one image to the person
//! who wrote them, so they are one here: the registry, its namespaces for official images, tag and digest are dropped to
//! find the name of an alias or of a built-in image. What is given explicitly (`--image NAME=FILE`) is matched more
//! exactly first.

/// A reference, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// As it was written.
    pub written: &'a str,
    /// Without tag and digest.
    pub repository: &'a str,
    /// Without the registry and the namespaces of official images.
    pub name: &'a str,
}

/// What public registries put in front of an official image's own name.
const OFFICIAL: [&str; 4] =
    ["docker.io/library/", "index.docker.io/library/", "public.ecr.aws/docker/library/", "library/"];
/// Repositories of a vendor on ECR Public that repeat the vendor as the image's name: `nginx/nginx`.
const ECR_PUBLIC: &str = "public.ecr.aws/";

impl<'a> Reference<'a> {
    pub fn parse(written: &'a str) -> Reference<'a> {
        let without_digest = written.split_once('@').map_or(written, |(before, _)| before);
        // A colon before the last slash is the port of a registry.
        let repository = match without_digest.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => before,
            _ => without_digest,
        };
        Reference { written, repository, name: short_name(repository) }
    }

    /// What an alias may be called to mean this image: the most exact first.
    pub fn spellings(&self) -> [&'a str; 3] {
        [self.written, self.repository, self.name]
    }
}

fn short_name(repository: &str) -> &str {
    for prefix in OFFICIAL {
        if let Some(name) = repository.strip_prefix(prefix) {
            return name;
        }
    }
    if let Some(path) = repository.strip_prefix(ECR_PUBLIC) {
        return match path.split_once('/') {
            Some((vendor, image)) if vendor == image => image,
            _ => path,
        };
    }
    match repository.split_once('/') {
        // Only what has a dot or a port, or is localhost, is a registry; else it is a user of Docker Hub.
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => path,
        _ => repository,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_an_image_have_one_name() {
        for (written, name) in [
            ("nginx", "nginx"),
            ("nginx:latest", "nginx"),
            ("nginx:1.27-alpine@sha256:0123", "nginx"),
            ("docker.io/library/nginx:latest", "nginx"),
            ("library/nginx", "nginx"),
            ("public.ecr.aws/nginx/nginx:stable", "nginx"),
            ("public.ecr.aws/docker/library/nginx", "nginx"),
            ("amazon/amazon-ecs-sample", "amazon/amazon-ecs-sample"),
            ("docker.io/amazon/amazon-ecs-sample:latest", "amazon/amazon-ecs-sample"),
            ("coracle/hello:2", "coracle/hello"),
            ("localhost:5000/app:1", "app"),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1", "team/app"),
        ] {
            assert_eq!(Reference::parse(written).name, name, "{written}");
        }
    }

    #[test]
    fn a_tag_is_no_port_and_a_port_no_tag() {
        assert_eq!(Reference::parse("localhost:5000/app").repository, "localhost:5000/app");
        assert_eq!(Reference::parse("localhost:5000/app:1").repository, "localhost:5000/app");
    }
}
