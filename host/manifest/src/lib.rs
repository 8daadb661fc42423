//! Kubernetes manifests: YAML or JSON text in, objects of the model and problems with their positions out.
//!
//! Owns the YAML parser and the shape of Kubernetes objects. Decides nothing about them, keeps no store, and watches
//! no files: the caller says when to [`FolderSource::load`] again.
//!
//! Text flows one way: [`FolderSource`] → file → document → item → [`Found`]. A fault stops the smallest of these that
//! can be told apart: an object with a wrong field hides no other object, a document that is not valid YAML hides no
//! other document, and a file that cannot be read hides no other file.

#![warn(missing_docs)]

mod limits;
mod problem;

mod snapshot;

mod folder;

mod text;

mod documents;

mod yaml;

mod json;

mod node;

mod shapes;

mod view;

mod settings;

pub use limits::Limits;
pub use problem::{Fault, Position, Problem};
pub use settings::settings;
pub use snapshot::{Entry, FolderSource, Snapshot, Warning, diff};
pub use text::{Format, Found, Unread, read_text};
