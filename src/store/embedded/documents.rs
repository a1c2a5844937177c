//! Documents: the record first, then the shelf in memory.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;

use super::Embedded;
use crate::domain::id::Tenant;
use crate::store::kv::Kv;
use crate::store::{Document, DocumentKind, Documents, StoreError, keys};

#[async_trait]
impl<K: Kv> Documents for Embedded<K> {
    async fn put_document(&self, document: Document) -> Result<(), StoreError> {
        let record = document.clone();
        self.write(true, move |txn| {
            txn.put(
                keys::document(record.kind, &record.tenant, &record.name),
                &record,
            )
        })
        .await?;
        let mut shelf = self.shared.documents.write();
        let shelf = shelf.as_mut().unwrap_or_else(|error| error.get_mut());
        shelf.put(document);
        Ok(())
    }

    async fn delete_document(
        &self,
        kind: DocumentKind,
        tenant: &Tenant,
        name: &str,
    ) -> Result<(), StoreError> {
        let key = keys::document(kind, tenant, name);
        self.write(true, move |txn| txn.remove_record(key)).await?;
        let mut shelf = self.shared.documents.write();
        let shelf = shelf.as_mut().unwrap_or_else(|error| error.get_mut());
        shelf.remove(kind, tenant, name);
        Ok(())
    }

    fn document(&self, kind: DocumentKind, tenant: &Tenant, name: &str) -> Option<Arc<Document>> {
        let shelf = self.shared.documents.read();
        let shelf = shelf.unwrap_or_else(PoisonError::into_inner);
        shelf.one(kind, tenant, name)
    }

    fn documents(&self, kind: DocumentKind, tenant: Option<&Tenant>) -> Vec<Arc<Document>> {
        let shelf = self.shared.documents.read();
        let shelf = shelf.unwrap_or_else(PoisonError::into_inner);
        shelf.of(kind, tenant)
    }
}
