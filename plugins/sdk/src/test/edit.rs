//! An edit of an explanation, made to the mesh of a test as the host makes it to objects: by its level and key alone. What
//! comes of it is for the test to ask.

use super::Mesh;
use super::draft::{Admits, GatewayDraft, Keys};
use crate::{Batch, Description, Edit, Level, Source, StatusAddress};

impl Mesh {
    /// The mesh after the edit. `batch`: the one that was explained, of this mesh and `description`.
    ///
    /// # Errors
    /// What is not as the interface says an edit is written, or names nothing in this mesh.
    pub fn edited(&self, edit: &Edit, batch: &Batch, description: &Description) -> Result<Self, String> {
        let mut mesh = self.clone();
        match edit.at {
            Level::Subject => mesh.edit_subject(edit, description)?,
            Level::Namespace => mesh.edit_namespace(edit, description)?,
            Level::Gateway => edit_gateway(mesh.gateway_of(edit, batch)?, edit)?,
            Level::Listener => edit_listener(mesh.gateway_of(edit, batch)?, edit)?,
            Level::Settings => mesh.edit_settings(edit)?,
            Level::GatewayClass | Level::Node => return Err(format!("nobody edits at {:?}", edit.at)),
        }
        Ok(mesh)
    }

    fn edit_subject(&mut self, edit: &Edit, description: &Description) -> Result<(), String> {
        let [subject] = self.subjects.as_mut_slice() else {
            return Err("one subject is explained at a time".to_owned());
        };
        let annotation = is_annotation(edit, description, Source::SubjectLabel, Source::SubjectAnnotation)?;
        let keys = if annotation { &mut subject.annotations } else { &mut subject.labels };
        set(keys.as_mut().ok_or("its labels are unknown")?, edit);
        Ok(())
    }

    fn edit_namespace(&mut self, edit: &Edit, description: &Description) -> Result<(), String> {
        let name = self.subjects.first().map(|subject| subject.namespace.clone()).unwrap_or_default();
        let mut known = self.namespaces.iter_mut().filter(|namespace| namespace.known);
        let namespace = known.find(|namespace| namespace.name == name).ok_or("there is no such Namespace")?;
        let annotation = is_annotation(edit, description, Source::NamespaceLabel, Source::NamespaceAnnotation)?;
        set(if annotation { &mut namespace.annotations } else { &mut namespace.labels }, edit);
        Ok(())
    }

    fn gateway_of(&mut self, edit: &Edit, batch: &Batch) -> Result<&mut GatewayDraft, String> {
        let named = edit.gateway.and_then(|index| batch.gateway(index)).ok_or("names no Gateway of the batch")?;
        let mut gateways = self.gateways.iter_mut();
        let found = gateways.find(|gateway| gateway.name == named.name && gateway.namespace == named.namespace);
        found.ok_or_else(|| "names no Gateway of the mesh".to_owned())
    }

    /// The settings of a test are one flat object of words.
    fn edit_settings(&mut self, edit: &Edit) -> Result<(), String> {
        let value = edit.value.as_ref().ok_or("a setting is given a word")?;
        let inside = self.settings.trim().trim_start_matches('{').trim_end_matches('}');
        let is_it = |pair: &&str| pair.split_once(':').is_some_and(|(key, _)| key.trim() == format!("{:?}", edit.key));
        let mut pairs: Vec<String> =
            inside.split(',').filter(|pair| !pair.is_empty() && !is_it(pair)).map(str::to_owned).collect();
        pairs.push(format!("{:?}:{value:?}", edit.key));
        self.settings = format!("{{{}}}", pairs.join(","));
        Ok(())
    }
}

/// An annotation is what the plugin reads as one.
fn is_annotation(edit: &Edit, description: &Description, label: Source, annotation: Source) -> Result<bool, String> {
    let read = |at| description.reads.iter().any(|read| read.at == at && read.key == edit.key);
    match (read(label), read(annotation)) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(format!("nobody reads {} there", edit.key)),
    }
}

fn edit_gateway(gateway: &mut GatewayDraft, edit: &Edit) -> Result<(), String> {
    if edit.key != "status.addresses" {
        set(&mut gateway.labels, edit);
        return Ok(());
    }
    let (kind, value) = edit.value.as_deref().and_then(|value| value.split_once('=')).ok_or("not TYPE=VALUE")?;
    gateway.addresses.push(StatusAddress { kind: Some(kind.to_owned()), value: value.to_owned() });
    Ok(())
}

fn edit_listener(gateway: &mut GatewayDraft, edit: &Edit) -> Result<(), String> {
    let path = edit.key.strip_prefix("spec.listeners[").and_then(|rest| rest.split_once(']'));
    let (position, ".allowedRoutes.namespaces.from") = path.ok_or("no path of a listener")? else {
        return Err(format!("{} is no field that a test's listener has", edit.key));
    };
    let position: usize = position.parse().map_err(|_| format!("{position} is no position"))?;
    let listener = gateway.listeners.get_mut(position).ok_or("there is no such listener")?;
    listener.admits = edit.value.as_deref().map_or(Admits::Unsaid, Admits::from);
    Ok(())
}

fn set(keys: &mut Keys, edit: &Edit) {
    match &edit.value {
        Some(value) => keys.insert(edit.key.clone(), value.clone()),
        None => keys.remove(&edit.key),
    };
}

#[cfg(test)]
mod tests {
    use crate::test::{mesh, pod, waypoint};
    use crate::{Batch, Description, Edit, Level, Source};

    fn description() -> Description {
        let description = Description::new("test", "0").reading(Source::SubjectLabel, &["label"]);
        description.reading(Source::SubjectAnnotation, &["annotation"]).reading(Source::NamespaceLabel, &["label"])
    }

    fn edit(at: Level, key: &str, value: Option<&str>) -> Edit {
        Edit { at, gateway: Some(0), key: key.to_owned(), value: value.map(str::to_owned) }
    }

    /// The only pod of `ns`, which has the one waypoint, after the edit.
    fn after(edit: &Edit) -> Result<Batch, String> {
        let mesh = mesh().settings(r#"{"a":"b","c":"d"}"#).namespace("ns", &[("label", "old")]);
        let mesh = mesh.gateway(waypoint("ns", "wp").without_addresses()).subject(pod("ns").label("label", "old"));
        Ok(mesh.edited(edit, &mesh.batch(), &description())?.batch())
    }

    #[test]
    fn an_edit_is_made_where_its_level_and_key_say() {
        let subject = |key, value| after(&edit(Level::Subject, key, value)).unwrap().subjects.remove(0);
        assert_eq!(subject("label", Some("new")).label("label"), Some("new"));
        assert_eq!(subject("label", None).label("label"), None);
        assert_eq!(subject("annotation", Some("new")).annotation("annotation"), Some("new"));
        let namespace = after(&edit(Level::Namespace, "label", Some("new"))).unwrap().namespaces.remove(0);
        assert_eq!(namespace.label("label"), Some("new"));
        let gateway = |at, key, value| after(&edit(at, key, Some(value))).unwrap().gateways.remove(0);
        assert_eq!(gateway(Level::Gateway, "x", "new").label("x"), Some("new"));
        let address = gateway(Level::Gateway, "status.addresses", "Hostname=a=b").addresses.remove(0);
        assert_eq!((address.kind.as_deref(), address.value.as_str()), (Some("Hostname"), "a=b"));
        let listener = gateway(Level::Listener, "spec.listeners[0].allowedRoutes.namespaces.from", "All");
        assert_eq!(listener.listeners[0].admits_from.as_deref(), Some("All"));
        let settings = |key| after(&edit(Level::Settings, key, Some("x"))).unwrap().settings;
        assert_eq!(settings("c"), r#"{"a":"b","c":"x"}"#);
        assert_eq!(settings("e"), r#"{"a":"b","c":"d","e":"x"}"#);
    }

    #[test]
    fn what_is_not_written_as_the_interface_says_is_an_error() {
        let rows = [
            (Level::Subject, "other", "nobody reads other there"),
            (Level::Gateway, "status.addresses", "not TYPE=VALUE"),
            (Level::Listener, "allowedRoutes.namespaces.from", "no path of a listener"),
            (Level::Listener, "spec.listeners[0].port", "no field that a test's listener has"),
            (Level::Listener, "spec.listeners[1].allowedRoutes.namespaces.from", "there is no such listener"),
            (Level::Node, "label", "nobody edits at"),
        ];
        for (at, key, error) in rows {
            let said = after(&edit(at, key, Some("x"))).unwrap_err();
            assert!(said.contains(error), "{key}: {said}");
        }
    }
}
