//! The settings of tenants, read once and kept until they are changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Engine;
use crate::domain::id::Tenant;
use crate::domain::tenant::Settings;
use crate::store::{Document, DocumentKind, StoreError};

/// Settings as they were last read, with the document that they were read from.
#[derive(Debug, Default)]
pub(super) struct Tenants(Mutex<HashMap<Tenant, (Arc<Document>, Arc<Settings>)>>);

impl Engine {
    /// The settings of a tenant; the defaults where nobody has written any.
    #[must_use]
    pub fn settings(&self, tenant: &Tenant) -> Arc<Settings> {
        let Some(document) = self.store.document(DocumentKind::Settings, tenant, "") else {
            return Arc::default();
        };
        let mut known = self
            .tenants
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((read, settings)) = known.get(tenant)
            && Arc::ptr_eq(read, &document)
        {
            return settings.clone();
        }
        let settings = serde_json::from_str(&document.json).unwrap_or_else(|error| {
            // Written by another version. Sending on with rules that nobody wrote would be worse.
            tracing::error!(%tenant, %error, "tenant_settings_unreadable");
            Settings {
                enabled: false,
                ..Settings::default()
            }
        });
        let settings = Arc::new(settings);
        known.insert(tenant.clone(), (document, settings.clone()));
        settings
    }

    /// Stores the settings of a tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_settings(
        &self,
        tenant: &Tenant,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let known = self.store.document(DocumentKind::Settings, tenant, "");
        let json = serde_json::to_string(settings)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let document = Document {
            kind: DocumentKind::Settings,
            tenant: tenant.clone(),
            name: String::new(),
            json,
            created_at: known.map_or(now, |known| known.created_at),
            updated_at: now,
        };
        self.store.put_document(document).await
    }
}
