//! Kubernetes manifests: YAML or JSON text in, objects of the model and problems with their positions out.
//!
//! Owns the YAML parser and the shape of Kubernetes objects. Decides nothing about them, and watches no files: the caller
//! says when to [`FolderReader::read`] again and gets what changed, or to [`FolderSource::load`] all objects, or to refresh
//! the [`FolderStore`] that keeps what was read. The other way, [`write()`] gives an object as Kubernetes shows it.
//!
//! Text flows one way: [`FolderReader`] → file → document → item → [`Found`]. A fault stops the smallest of these that
//! can be told apart: an object with a wrong field hides no other object, a document that is not valid YAML hides no
//! other document, and a file that cannot be read hides no other file.

#![warn(missing_docs)]

mod limits;
mod problem;

mod report;

mod reader;

mod snapshot;

mod folder_store;

mod folder;

mod text;

mod documents;

mod yaml;

mod json;

mod node;

mod pool;

mod timestamp;

mod shapes;

mod view;

mod settings;

mod mesh_config;

mod object_reader;

mod write;

pub use folder_store::FolderStore;
pub use limits::Limits;
pub use mesh_config::mesh_config;
pub use object_reader::{ObjectReader, UnreadObject, api_group};
pub use problem::{Fault, Position, Problem};
pub use reader::{FolderReader, PROGRESS_EVERY, Reading};
pub use report::Warning;
pub use settings::settings;
pub use snapshot::{Entry, FolderSource, Snapshot, diff};
pub use text::{Format, Found, Unread, read_text};
pub use write::{write, write_mesh, write_yaml};
