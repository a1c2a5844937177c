//! The settings of tenants, read once and kept until they are changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Engine;
use crate::domain::id::Tenant;
use crate::domain::tenant::Settings;
use crate::store::{Document, DocumentKind, StoreError};

/// The document that settings were read from, and the settings.
type Known = (Arc<Document>, Arc<Settings>);

/// Settings as they were last read, with the document that they were read from.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    known: Mutex<HashMap<Tenant, Known>>,
    /// Held from reading settings until they are stored: of two changes neither is lost.
    changing: tokio::sync::Mutex<()>,
}

impl Engine {
    /// The settings of a tenant; the defaults where nobody has written any.
    #[must_use]
    pub fn settings(&self, tenant: &Tenant) -> Arc<Settings> {
        let Some(document) = self.store.document(DocumentKind::Settings, tenant, "") else {
            return Arc::default();
        };
        let mut known = self
            .tenants
            .known
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

    /// Stores what `change` makes of the settings of a tenant.
    ///
    /// # Errors
    /// What `change` says, and the store's; nothing is changed then.
    pub async fn change_settings<E: From<StoreError>>(
        &self,
        tenant: &Tenant,
        change: impl FnOnce(&Settings) -> Result<Settings, E> + Send,
    ) -> Result<(), E> {
        let _alone = self.tenants.changing.lock().await;
        let settings = change(&self.settings(tenant))?;
        Ok(self.put_settings(tenant, &settings).await?)
    }

    /// Removes the settings of a tenant: the defaults hold from then on.
    ///
    /// # Errors
    /// `NotFound` if there are none, or the store's own.
    pub async fn remove_settings(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let _alone = self.tenants.changing.lock().await;
        let store = &self.store;
        store
            .delete_document(DocumentKind::Settings, tenant, "")
            .await?;
        let known = &self.tenants.known;
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(tenant);
        Ok(())
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
