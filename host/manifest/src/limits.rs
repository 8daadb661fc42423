//! What is too much to read. One place, so that a reader of a refusal finds the figure and its default.

/// Bounds on what is read. Whatever exceeds one is refused with a [`crate::Fault`] that names both figures.
///
/// The defaults hold the largest mesh the project is designed for (1,000 namespaces, 20,000 services, 200,000 pods)
/// with room to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files of one folder; 10,000.
    pub files_max: usize,
    /// Bytes of one file, checked before it is read; 256 MiB.
    pub file_bytes_max: u64,
    /// Bytes of one document of a file; 256 MiB. A List is one document.
    pub document_bytes_max: usize,
    /// Nesting of mappings and sequences in an object; 64. Beyond it the object is refused, beyond twice that, in YAML,
    /// the document.
    pub depth_max: usize,
    /// Scalars, sequences and mappings of one object, of a List those of one item; 100,000. A real Pod has a few hundred.
    pub object_nodes_max: usize,
    /// Bytes of the texts of one object, of a List of one item; 4 MiB. The API server stores less.
    pub object_bytes_max: usize,
    /// Aliases of one YAML document; 1,000.
    pub aliases_max: usize,
    /// Values that YAML aliases may add to one document; 100,000. Anchors and merge keys work below that.
    pub alias_nodes_max: usize,
    /// Bytes of a name or namespace; 253, as the API server has it.
    pub name_bytes_max: usize,
    /// Labels of one object, and annotations; 1,024 each.
    pub labels_max: usize,
    /// Bytes of all labels of one object, keys and values, and of all annotations; 256 KiB each, the API server's
    /// figure for annotations.
    pub label_bytes_max: usize,
    /// Objects of a snapshot; 1,000,000.
    pub objects_max: usize,
    /// Problems of a snapshot that are kept, and warnings; 1,000 each. The rest is counted.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 10_000,
            file_bytes_max: 256 << 20,
            document_bytes_max: 256 << 20,
            depth_max: 64,
            object_nodes_max: 100_000,
            object_bytes_max: 4 << 20,
            aliases_max: 1_000,
            alias_nodes_max: 100_000,
            name_bytes_max: 253,
            labels_max: 1_024,
            label_bytes_max: 256 << 10,
            objects_max: 1_000_000,
            problems_max: 1_000,
        }
    }
}
