//! Templates of tenants: compiled when they are first used, and kept until they are changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Engine;
use crate::domain::id::Tenant;
use crate::domain::template::{Definition, Template};
use crate::store::{Document, DocumentKind, StoreError};

/// Most templates of one tenant.
pub const TEMPLATES_MAX: usize = 1000;

/// A template of a tenant, ready to make texts.
#[derive(Debug)]
pub struct KnownTemplate {
    /// Its name, and when it was written.
    pub document: Arc<Document>,
    /// As it was written.
    pub definition: Definition,
    /// As it is used.
    pub template: Template,
}

/// Why a template was not stored.
#[derive(Debug)]
pub enum NotStored {
    /// There is one of this name already.
    Exists,
    /// The tenant has as many as it may have.
    TooMany,
    /// The store has not taken it.
    Store(StoreError),
}

/// Templates as they were last read.
#[derive(Debug, Default)]
pub(super) struct Templates {
    known: Mutex<HashMap<(Tenant, String), Arc<KnownTemplate>>>,
    /// Held while one is looked for and then written.
    writing: tokio::sync::Mutex<()>,
}

impl Templates {
    fn known(&self) -> MutexGuard<'_, HashMap<(Tenant, String), Arc<KnownTemplate>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// The template of this name.
    #[must_use]
    pub fn template(&self, tenant: &Tenant, name: &str) -> Option<Arc<KnownTemplate>> {
        let document = self.store.document(DocumentKind::Template, tenant, name)?;
        self.read_template(document)
    }

    /// Every template of a tenant, by name.
    #[must_use]
    pub fn templates(&self, tenant: &Tenant) -> Vec<Arc<KnownTemplate>> {
        let documents = self.store.documents(DocumentKind::Template, Some(tenant));
        let read = |document| self.read_template(document);
        documents.into_iter().filter_map(read).collect()
    }

    /// Stores a template, which has compiled; `new`: only if there is none of this name.
    ///
    /// # Errors
    /// There is one, the tenant has too many, or the store's.
    pub async fn put_template(
        &self,
        tenant: &Tenant,
        name: &str,
        (definition, template): (Definition, Template),
        new: bool,
    ) -> Result<Arc<KnownTemplate>, NotStored> {
        let _turn = self.templates.writing.lock().await;
        let before = self.store.document(DocumentKind::Template, tenant, name);
        if before.is_some() && new {
            return Err(NotStored::Exists);
        }
        if before.is_none() {
            let all = self.store.documents(DocumentKind::Template, Some(tenant));
            if all.len() >= TEMPLATES_MAX {
                return Err(NotStored::TooMany);
            }
        }
        let now = self.clock.now();
        let json = serde_json::to_string(&definition)
            .map_err(|error| NotStored::Store(StoreError::Unavailable(error.to_string())))?;
        let document = Document {
            kind: DocumentKind::Template,
            tenant: tenant.clone(),
            name: name.to_owned(),
            json,
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
        };
        let put = self.store.put_document(document.clone()).await;
        put.map_err(NotStored::Store)?;
        Ok(Arc::new(KnownTemplate {
            document: Arc::new(document),
            definition,
            template,
        }))
    }

    /// Removes a template. Messages that were made from it stay as they are.
    ///
    /// # Errors
    /// `NotFound`, or the store's own.
    pub async fn delete_template(&self, tenant: &Tenant, name: &str) -> Result<(), StoreError> {
        let _turn = self.templates.writing.lock().await;
        if (self.store.document(DocumentKind::Template, tenant, name)).is_none() {
            return Err(StoreError::NotFound);
        }
        let deleted = self
            .store
            .delete_document(DocumentKind::Template, tenant, name);
        deleted.await?;
        let name = (tenant.clone(), name.to_owned());
        self.templates.known().remove(&name);
        Ok(())
    }

    fn read_template(&self, document: Arc<Document>) -> Option<Arc<KnownTemplate>> {
        let name = (document.tenant.clone(), document.name.clone());
        if let Some(known) = self.templates.known().get(&name)
            && Arc::ptr_eq(&known.document, &document)
        {
            return Some(known.clone());
        }
        let read = || -> Result<KnownTemplate, String> {
            let definition: Definition =
                serde_json::from_str(&document.json).map_err(|error| error.to_string())?;
            let template = Template::compile(&definition.text, definition.language)
                .map_err(|error| error.to_string())?;
            Ok(KnownTemplate {
                document: document.clone(),
                definition,
                template,
            })
        };
        match read() {
            Ok(known) => {
                let known = Arc::new(known);
                self.templates.known().insert(name, known.clone());
                Some(known)
            }
            Err(error) => {
                // Written by another version: no message is made from what was not meant.
                let (tenant, name) = name;
                tracing::error!(%tenant, name, error, "template_unreadable");
                None
            }
        }
    }
}
