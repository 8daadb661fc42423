//! What is too much to read. One place, so that a reader of a refusal finds the figure and its default.

/// Bounds on what is read. Whatever exceeds one is refused with a [`crate::Fault`] that names both figures.
///
/// The defaults hold the largest mesh the project is designed for (1,000 namespaces, 20,000 services, 200,000 pods)
/// with room to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files of one folder; 10,000.
    pub files_max: usize,
    /// Bytes of one file, checked before it is read; 1 GiB.
    pub file_bytes_max: u64,
    /// Bytes of what of a YAML file must be in memory at once; 256 MiB. That is a document, but for a List whose items can be
    /// told apart without a parser, as `kubectl` writes them. JSON never is.
    pub document_bytes_max: usize,
    /// Bytes of the text of one object, of a List of one item, with all that is not read of it; 16 MiB. In YAML only items
    /// of Lists are bounded by it.
    pub object_text_bytes_max: usize,
    /// Nesting of mappings and sequences in an object; 64. Beyond it the object is refused, beyond twice that, in YAML,
    /// the document.
    pub depth_max: usize,
    /// Scalars, sequences and mappings of one object that are read, of a List those of one item; 100,000. A real Pod has some
    /// dozens.
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
    /// Hosts of one ServiceEntry; 1,000.
    pub hosts_max: usize,
    /// Endpoints of one ServiceEntry, and of one EndpointSlice; 10,000.
    pub endpoints_max: usize,
    /// Objects of a snapshot; 1,000,000.
    pub objects_max: usize,
    /// Problems of a snapshot that are kept, and warnings; 1,000 each. The rest is counted.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 10_000,
            file_bytes_max: 1 << 30,
            document_bytes_max: 256 << 20,
            object_text_bytes_max: 16 << 20,
            depth_max: 64,
            object_nodes_max: 100_000,
            object_bytes_max: 4 << 20,
            aliases_max: 1_000,
            alias_nodes_max: 100_000,
            name_bytes_max: 253,
            labels_max: 1_024,
            label_bytes_max: 256 << 10,
            hosts_max: 1_000,
            endpoints_max: 10_000,
            objects_max: 1_000_000,
            problems_max: 1_000,
        }
    }
}
