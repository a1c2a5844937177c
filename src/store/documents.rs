//! What administrators have written, kept as they wrote it: the settings of tenants, templates, digests.
//!
//! There are few, so that all of them are in memory, and reading one costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::id::Tenant;
use crate::domain::time::Timestamp;

/// The verbs of documents.
#[async_trait]
pub trait Documents {
    /// Stores or replaces one.
    async fn put_document(&self, document: Document) -> Result<(), StoreError>;
    /// Removes one; `NotFound` if there is none.
    async fn delete_document(
        &self,
        kind: DocumentKind,
        tenant: &Tenant,
        name: &str,
    ) -> Result<(), StoreError>;
    /// One of them. Cheap: no I/O.
    fn document(&self, kind: DocumentKind, tenant: &Tenant, name: &str) -> Option<Arc<Document>>;
    /// Those of a kind, of one tenant or of all, by tenant and name. Cheap: no I/O.
    fn documents(&self, kind: DocumentKind, tenant: Option<&Tenant>) -> Vec<Arc<Document>>;
}

/// Something that administrators have written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Whose.
    pub tenant: Tenant,
    /// Its name; empty for what a tenant has one of.
    pub name: String,
    /// What stands in it: a JSON object.
    pub json: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DocumentKind {
    /// The settings of a tenant.
    Settings,
    /// A template of texts.
    Template,
    /// The definition of a digest.
    Digest,
}

type Name = (DocumentKind, Tenant, String);

/// All of them, in memory.
#[derive(Debug, Default)]
pub(super) struct Shelf(BTreeMap<Name, Arc<Document>>);

impl Shelf {
    pub(super) fn put(&mut self, document: Document) {
        let name = (
            document.kind,
            document.tenant.clone(),
            document.name.clone(),
        );
        self.0.insert(name, Arc::new(document));
    }

    pub(super) fn remove(&mut self, kind: DocumentKind, tenant: &Tenant, name: &str) {
        self.0.remove(&(kind, tenant.clone(), name.to_owned()));
    }

    pub(super) fn one(
        &self,
        kind: DocumentKind,
        tenant: &Tenant,
        name: &str,
    ) -> Option<Arc<Document>> {
        self.0
            .get(&(kind, tenant.clone(), name.to_owned()))
            .cloned()
    }

    pub(super) fn of(&self, kind: DocumentKind, tenant: Option<&Tenant>) -> Vec<Arc<Document>> {
        let all = self.0.values().filter(|document| document.kind == kind);
        let theirs = all.filter(|document| tenant.is_none_or(|tenant| document.tenant == *tenant));
        theirs.cloned().collect()
    }
}
