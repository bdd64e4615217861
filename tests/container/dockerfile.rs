//! The last stage of `contrib/docker/Dockerfile`, as an engine reads it.

use std::path::Path;

/// An instruction that copies a file or a folder of the builder.
#[derive(Debug)]
pub struct Copied {
    pub from: String,
    pub to: String,
    pub owner: Option<(u32, u32)>,
}

#[derive(Debug, Default)]
pub struct Image {
    pub copied: Vec<Copied>,
    pub user: String,
    pub folder: String,
    pub volume: String,
    pub environment: Vec<String>,
    pub stop_signal: String,
    pub health_check: Vec<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
}

impl Image {
    /// Panics at an instruction that this test cannot follow.
    pub fn read() -> Image {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/docker/Dockerfile");
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .collect();
        let joined = lines.join("\n").replace("\\\n", " ");
        let (_, stage) = joined.rsplit_once("\nFROM ").unwrap();
        let (base, instructions) = stage.split_once('\n').unwrap();
        assert!(base.starts_with("debian:"), "{base}");
        let mut image = Image::default();
        for line in instructions.lines() {
            let (instruction, rest) = line.split_once(' ').unwrap();
            image.follow(instruction, rest.trim());
        }
        image
    }

    fn follow(&mut self, instruction: &str, rest: &str) {
        match instruction {
            "COPY" => self.copied.push(Copied::parse(rest)),
            "USER" => rest.clone_into(&mut self.user),
            "WORKDIR" => rest.clone_into(&mut self.folder),
            "VOLUME" => rest.clone_into(&mut self.volume),
            "ENV" => self.environment.push(rest.to_owned()),
            "STOPSIGNAL" => rest.clone_into(&mut self.stop_signal),
            "HEALTHCHECK" => {
                let (_, command) = rest.split_once("CMD ").unwrap();
                self.health_check = words(command);
            }
            "ENTRYPOINT" => self.entrypoint = words(rest),
            "CMD" => self.command = words(rest),
            "LABEL" => {}
            _ => panic!("this test cannot follow the instruction {instruction}"),
        }
    }
}

impl Copied {
    fn parse(rest: &str) -> Copied {
        let (options, paths): (Vec<&str>, Vec<&str>) = rest
            .split_whitespace()
            .partition(|word| word.starts_with("--"));
        let option = |name| options.iter().find_map(|option| option.strip_prefix(name));
        assert_eq!(option("--from="), Some("builder"), "{rest}");
        let [from, to] = paths[..] else {
            panic!("not one source and one destination: {rest}");
        };
        Copied {
            from: from.to_owned(),
            to: to.to_owned(),
            owner: option("--chown=").map(ids),
        }
    }
}

/// The numbers of `USER:GROUP`.
pub fn ids(owner: &str) -> (u32, u32) {
    let (user, group) = owner.split_once(':').unwrap();
    (user.parse().unwrap(), group.parse().unwrap())
}

/// The exec form of a command.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap()
}
